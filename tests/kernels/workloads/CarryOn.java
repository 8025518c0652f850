import java.io.FileWriter;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/**
 * A workload that has its state in what a Java machine has: compiled code, a heap that is collected all the time, dozens
 * of threads. It writes the lines that evidence.rs describes, and a line with an exclamation mark when it finds itself changed.
 */
public final class CarryOn {
    private static final int WORKERS = 3;
    private static final int WAITING = 24;

    private static long step(long state) {
        return state * 6364136223846793005L + 1442695040888963407L;
    }

    private static final class Worker extends Thread {
        private long count;
        private long state;
        private Object litter;

        Worker(long seed) {
            state = seed;
            setDaemon(true);
        }

        private synchronized void advance() {
            count++;
            state = step(state);
        }

        synchronized String now() {
            return count + " " + Long.toUnsignedString(state);
        }

        @Override
        public void run() {
            while (true) {
                for (int i = 0; i < 50; i++) {
                    advance();
                }
                litter = new byte[64 * 1024];
                pause(10);
            }
        }
    }

    private static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException unexpected) {
            throw new IllegalStateException(unexpected);
        }
    }

    private static List<Thread> waiting(CountDownLatch never) {
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < WAITING; i++) {
            Thread thread = new Thread(() -> {
                try {
                    never.await();
                } catch (InterruptedException unexpected) {
                    throw new IllegalStateException(unexpected);
                }
            });
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
        return threads;
    }

    public static void main(String[] arguments) throws Exception {
        long nonce = new SecureRandom().nextLong();
        long pid = ProcessHandle.current().pid();
        List<Worker> workers = new ArrayList<>();
        for (int i = 0; i < WORKERS; i++) {
            Worker worker = new Worker(nonce + 1 + i);
            worker.start();
            workers.add(worker);
        }
        List<Thread> waiting = waiting(new CountDownLatch(1));
        Map<Long, Long> history = new HashMap<>();
        try (FileWriter log = new FileWriter(arguments[0])) {
            log.write("# " + Long.toUnsignedString(nonce) + "\n");
            long state = nonce;
            for (long seq = 1; ; seq++) {
                state = step(state);
                history.put(seq, state);
                long sum = 0;
                for (long value : history.values()) {
                    sum += value;
                }
                StringBuilder line = new StringBuilder();
                line.append(seq).append(' ').append(Long.toUnsignedString(state));
                line.append(' ').append(Long.toUnsignedString(sum));
                for (Worker worker : workers) {
                    line.append(' ').append(worker.now());
                }
                if (ProcessHandle.current().pid() != pid || !waiting.stream().allMatch(Thread::isAlive)) {
                    line.append("\n! a thread is gone");
                }
                log.write(line.append('\n').toString());
                log.flush();
                pause(100);
            }
        }
    }
}
