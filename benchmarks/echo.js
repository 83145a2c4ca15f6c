// An echo server on Node's net, with its flow control. Prints its port, and serves until it is ended.
const server = require("node:net").createServer({ noDelay: true }, (socket) => {
  socket.on("data", (data) => {
    if (!socket.write(data)) {
      socket.pause();
      socket.once("drain", () => socket.resume());
    }
  });
  socket.on("error", () => {});
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => console.log(server.address().port));
