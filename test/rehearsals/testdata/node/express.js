// A server as in Express's hello world. With "close" it is the example of its page on health
// checks and graceful shutdown.
const express = require('express');
const app = express();
app.get('/', (req, res) => res.send('hello\n'));
app.get('/slow', (req, res) => setTimeout(() => res.send('done\n'), 1500));
const server = app.listen(Number(process.env.PORT), '127.0.0.1');
if (process.argv[2] === 'close') {
  process.on('SIGTERM', () => {
    server.close(() => console.log('HTTP server closed'));
  });
}
