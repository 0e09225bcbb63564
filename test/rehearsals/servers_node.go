//go:build linux

package main

var node = product{
	name: "Node.js", version: []string{"node", "--version"}, pattern: `v([\d.]+)`, line: "20",
	ends: "2026-04-30", endsSource: "https://endoflife.date/nodejs",
}

// npm returns a package at the version that is installed.
func npm(name, pack, line, ends string) product {
	return product{
		name: name, version: []string{"node", "-p", "require('{{.Node}}/node_modules/" + pack + "/package.json').version"},
		pattern: `([\d.]+)`, line: line, ends: ends, endsSource: "https://endoflife.date/" + pack,
	}
}

func nodeServers() []server {
	all := []server{
		{
			name: "Node.js http", product: node, command: []string{"node", "{{.Data}}/node/http.js"},
			documented: "SIGTERM has a default handler, which resets the terminal and exits with 128 and the signal's number.",
			source:     "https://nodejs.org/docs/latest-v20.x/api/process.html#signal-events",
		},
		{
			name: "Node.js http, server.close()", product: node, command: []string{"node", "{{.Data}}/node/http.js", "close"},
			documented: "server.close() stops accepting, closes idle connections, and waits for the others.",
			source:     "https://nodejs.org/docs/latest-v20.x/api/http.html#serverclosecallback",
		},
		{
			name: "Express", product: npm("Express", "express", "5", ""), command: []string{"node", "{{.Node}}/express.js"},
			documented: "Like Node.js: it has no handler of its own.",
			source:     "https://expressjs.com/en/advanced/healthcheck-graceful-shutdown.html",
		},
		{
			name: "Express, server.close()", product: npm("Express", "express", "5", ""), command: []string{"node", "{{.Node}}/express.js", "close"},
			documented: "Its page on graceful shutdown calls server.close() at SIGTERM.",
			source:     "https://expressjs.com/en/advanced/healthcheck-graceful-shutdown.html",
		},
		{
			name: "Fastify", product: npm("Fastify", "fastify", "5", ""), command: []string{"node", "{{.Node}}/fastify.js"},
			documented: "Like Node.js: it has no handler of its own.",
			source:     "https://fastify.dev/docs/latest/Guides/Getting-Started/",
		},
		{
			name: "Fastify, close()", product: npm("Fastify", "fastify", "5", ""), command: []string{"node", "{{.Node}}/fastify.js", "close"},
			documented: "close() answers new requests with 503 and Connection: close (return503OnClosing), and waits for those in flight.",
			source:     "https://fastify.dev/docs/latest/Reference/Server/#close",
		},
		{
			name: "Next.js, next start", product: npm("Next.js", "next", "16", ""),
			command:    []string{"node", "{{.Node}}/node_modules/next/dist/bin/next", "start", "{{.Node}}", "--hostname", "127.0.0.1", "--port", "{{.Port}}"},
			documented: "next start handles SIGTERM, and finishes the requests in flight.",
			source:     "https://nextjs.org/docs/app/guides/self-hosting#graceful-shutdowns",
		},
	}
	for i := range all {
		s := &all[i]
		s.section, s.target, s.env = "Node.js", web, []string{"PORT={{.Port}}", "NEXT_TELEMETRY_DISABLED=1"}
		s.needs, s.installed = []string{"node", "npm"}, "Node.js 20"
		s.node = s.product.name != node.name
		s.want, s.wantDelayed = closesAtOnce, closesLater
		if s.product.name == "Next.js" {
			s.want, s.wantDelayed = findings{fails: "LC104", warns: "LC105 LC106", exit: 143}, findings{warns: "LC105 LC106", exit: 143}
		}
		if len(s.command) == 2 {
			s.want = findings{fails: "LC101", exit: -1}
			s.wantDelayed = s.want
			s.why = "PID 1 has no default action for the signal, so the second half of the handler does nothing: the program keeps running until it is killed."
		}
	}
	return all
}
