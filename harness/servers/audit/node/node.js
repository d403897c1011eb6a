// Node.js's http, as its documentation writes a server.
const http = require('node:http');

http.createServer((request, response) => response.end('ok')).listen(Number(process.argv[2]));
