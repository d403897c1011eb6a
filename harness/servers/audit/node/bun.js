// Bun's own server, as its documentation writes one.
Bun.serve({ port: Number(process.argv[2]), fetch: () => new Response('ok') });
