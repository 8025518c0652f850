# client.py PREFIX LOG: asks the server at PREFIX.socket for the number after the last one, and writes each into LOG.
import socket
import sys
import time

server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1] + ".socket")
number = 0
with open(sys.argv[2], "w") as log:
    while True:
        server.send(str(number).encode())
        number = int(server.recv(100))
        log.write(f"{number}\n")
        log.flush()
        time.sleep(0.05)
