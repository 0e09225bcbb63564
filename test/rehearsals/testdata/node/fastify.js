// A server as in Fastify's getting started. With "close" SIGTERM calls fastify.close().
const fastify = require('fastify')();
fastify.get('/', async () => 'hello\n');
fastify.get('/slow', async () => {
  await new Promise((resolve) => setTimeout(resolve, 1500));
  return 'done\n';
});
fastify.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
if (process.argv[2] === 'close') process.on('SIGTERM', () => fastify.close());
