// Deno's own server, as its documentation writes one.
Deno.serve({ port: Number(Deno.args[0]) }, () => new Response('ok'));
