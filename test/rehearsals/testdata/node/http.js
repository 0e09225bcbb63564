// A server as in the documentation of node:http, without signal handling. With "close" it handles
// SIGTERM as the documentation of the event 'SIGTERM' and of server.close() suggests.
const http = require('node:http');
const server = http.createServer((req, res) => {
  if (req.url !== '/slow') return res.end('hello\n');
  setTimeout(() => res.end('done\n'), 1500);
});
server.listen(Number(process.env.PORT), '127.0.0.1');
if (process.argv[2] === 'close') process.on('SIGTERM', () => server.close());
