# server.py PREFIX: answers one client at PREFIX.socket, each number with the next.
import socket
import sys

server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1] + ".socket")
server.listen()
client, _ = server.accept()
while asked := client.recv(100):
    client.send(str(int(asked) + 1).encode())
