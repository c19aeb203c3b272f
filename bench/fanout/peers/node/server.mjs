// Node with `ws` and `ioredis`, the usual choice there.
//
// usage: node server.mjs REDIS_PORT PORT CHANNEL
import Redis from 'ioredis';
import { WebSocketServer } from 'ws';

const [redisPort, port, channel] = process.argv.slice(2);
const subscribers = new Map();

const redis = new Redis(Number(redisPort));
redis.on('pmessage', (pattern, from, text) => {
  const symbol = from.slice(from.indexOf('{') + 1, -1);
  for (const socket of subscribers.get(symbol) ?? []) socket.send(text);
});
await redis.psubscribe(`${channel}:*`);

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.on('message', (data) => {
    for (const symbol of JSON.parse(data).symbols) {
      if (!subscribers.has(symbol)) subscribers.set(symbol, new Set());
      subscribers.get(symbol).add(socket);
    }
    socket.send('{"type":"subscribed"}');
  });
  socket.on('close', () => subscribers.forEach((members) => members.delete(socket)));
});
