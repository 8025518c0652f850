//! Two virtual machines of Erlang: one counts and is asked over TCP by the other, which sees the count only grow.

use harness::{Job, User};

as_each_user!(counts_on);

const SCRIPT: &str = r#"
cat > counter.erl <<'END'
-module(counter).
-export([start/1, ask/1]).
start([Port]) ->
    Counter = spawn(fun() -> count(0) end),
    {ok, Listener} = gen_tcp:listen(list_to_integer(atom_to_list(Port)), [{active, false}, {packet, line}, {reuseaddr, true}]),
    io:format("listening~n"),
    accept(Listener, Counter).
count(N) ->
    receive {ask, From} -> From ! {count, N}, count(N) after 1 -> count(N + 1) end.
accept(Listener, Counter) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    spawn(fun() -> receive go -> serve(Socket, Counter) end end) ! go,
    accept(Listener, Counter).
serve(Socket, Counter) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, _} ->
            Counter ! {ask, self()},
            receive {count, N} -> gen_tcp:send(Socket, io_lib:format("~b~n", [N])) end,
            serve(Socket, Counter);
        _ -> ok
    end.
ask([Port]) ->
    {ok, Socket} = gen_tcp:connect("127.0.0.1", list_to_integer(atom_to_list(Port)), [{active, false}, {packet, line}]),
    ask(Socket, 0, 0).
ask(Socket, Before, Asked) ->
    ok = gen_tcp:send(Socket, "?\n"),
    {ok, Line} = gen_tcp:recv(Socket, 0),
    Now = list_to_integer(string:trim(Line)),
    true = Now >= Before,
    Asked =:= 20 andalso io:format("ready~n"),
    case filelib:is_file("go") andalso Asked > 100 of
        true -> io:format("counted on~n"), init:stop();
        false -> timer:sleep(5), ask(Socket, Now, Asked + 1)
    end.
END
erlc counter.erl
erl -noshell -s counter start $1 > server.said 2>&1 &
server=$!
until (: < /dev/tcp/127.0.0.1/$1) 2> /dev/null; do sleep 0.05; done
erl -noshell -s counter ask $1
kill $server
wait $server
echo "it ended with $?"
"#;

fn counts_on(user: User) {
    let port = super::free_port();
    let mut job = Job::script(&["bash"], user, ("erlang.sh", SCRIPT), &[&port]);
    job.wait_for("ready");
    job.nap_often(3);
    job.make("go");
    assert_eq!(job.end(), "ready\ncounted on\nit ended with 0\n");
}
