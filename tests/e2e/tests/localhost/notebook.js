// A server as notebooks have one, pages and a WebSocket (RFC 6455) at one port, and its client.
//
//   node notebook.js serve NAME HOST PORT
//   node notebook.js ask HOST PORT WORD       prints what page and socket answer
const crypto = require('crypto');
const http = require('http');

const [, , what, ...words] = process.argv;
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

// Short texts alone; a client masks what it sends.
function frame(text, mask) {
    const bytes = Buffer.from(text);
    const head = Buffer.from([0x81, bytes.length | (mask ? 0x80 : 0)]);
    return Buffer.concat([head, mask || Buffer.alloc(0), bytes.map((b, i) => mask ? b ^ mask[i % 4] : b)]);
}

function text(frame) {
    const masked = frame[1] & 0x80, length = frame[1] & 0x7f;
    const [mask, at] = masked ? [frame.subarray(2, 6), 6] : [null, 2];
    return frame.subarray(at, at + length).map((b, i) => mask ? b ^ mask[i % 4] : b).toString();
}

function serve(name, host, port) {
    const server = http.createServer((request, response) => response.end(`the notebook of ${name}`));
    server.on('upgrade', (request, socket) => {
        const key = request.headers['sec-websocket-key'] + GUID;
        const accept = crypto.createHash('sha1').update(key).digest('base64');
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n' +
            `Connection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
        const from = socket.remoteAddress;
        socket.on('data', data => socket.write(frame(`${name} heard ${text(data)} from ${from}`)));
    });
    server.listen(port, host);
}

function ask(host, port, word) {
    const failed = error => { console.log(error.code); process.exit(1); };
    http.get({ host, port }, response => response.on('data', page => {
        const headers = {
            Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': 13,
            'Sec-WebSocket-Key': crypto.randomBytes(16).toString('base64'),
        };
        const request = http.get({ host, port, headers });
        request.on('error', failed).on('upgrade', (response, socket) => {
            socket.write(frame(word, crypto.randomBytes(4)));
            socket.on('data', data => { console.log(`${page}; ${text(data)}`); process.exit(0); });
        });
    })).on('error', failed);
}

({ serve, ask })[what](...words);
