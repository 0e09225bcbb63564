package main

// servers are all that are rehearsed, in the order of the page.
func servers() []server {
	var all []server
	for _, section := range [][]server{webServers(), nodeServers(), pythonServers(), goServers()} {
		all = append(all, section...)
	}
	return all
}

// web are the flags for a server with a quick and a slow path.
var web = []string{"--http", "http://127.0.0.1:{{.Port}}/", "--slow", "http://127.0.0.1:{{.Port}}/slow"}

func nodeServers() []server {
	node := product{
		name: "Node.js", version: []string{"node", "--version"}, pattern: `v([\d.]+)`, line: "20",
		ends: "2026-04-30", endsSource: "https://github.com/nodejs/release#release-schedule",
	}
	return []server{
		{
			name: "Node.js http", section: "Node.js", product: node, needs: []string{"node"}, installed: "Node.js",
			command: []string{"node", "{{.Data}}/node/http.js"}, env: []string{"PORT={{.Port}}"}, target: web,
			documented: "SIGTERM has a default handler, which resets the terminal and exits with 128 and the signal's number.",
			source:     "https://nodejs.org/docs/latest-v20.x/api/process.html#signal-events",
			want:       findings{fails: "LC101", exit: -1}, wantDelayed: findings{fails: "LC101", exit: -1},
		},
		{
			name: "Node.js http with server.close()", section: "Node.js", product: node, needs: []string{"node"}, installed: "Node.js",
			command: []string{"node", "{{.Data}}/node/http.js", "close"}, env: []string{"PORT={{.Port}}"}, target: web,
			documented: "server.close() stops accepting, closes idle connections, and waits for the others.",
			source:     "https://nodejs.org/docs/latest-v20.x/api/http.html#serverclosecallback",
			want:       findings{fails: "LC104", warns: "LC105"}, wantDelayed: findings{warns: "LC105"},
		},
	}
}

func pythonServers() []server {
	return []server{{
		name: "Python http.server", section: "Python",
		product: product{
			name: "Python", version: []string{"/usr/bin/python3", "--version"}, pattern: `Python ([\d.]+)`, line: "3.11",
			ends: "2027-10-31", endsSource: "https://devguide.python.org/versions/",
		},
		needs: []string{"/usr/bin/python3"}, installed: "python3 (Debian)",
		command:    []string{"/usr/bin/python3", "{{.Data}}/python/slow.py", "{{.Port}}", "{{.Data}}/python"},
		target:     web,
		documented: "Not for production. Its main handles KeyboardInterrupt alone.",
		source:     "https://docs.python.org/3.11/library/http.server.html",
		want:       findings{fails: "LC101", exit: -1}, wantDelayed: findings{fails: "LC101", exit: -1},
	}}
}

func goServers() []server {
	stdlib := product{
		name: "Go", version: []string{"go", "version"}, pattern: `go([\d.]+) `, line: "1.27",
		endsSource: "https://go.dev/doc/devel/release#policy",
	}
	return []server{
		{
			name: "Go net/http", section: "Go", product: stdlib, module: "nethttp",
			command: []string{"{{.Go}}/nethttp"}, env: []string{"PORT={{.Port}}"}, target: web,
			documented: "A signal that the program does not ask for by signal.Notify ends it: SIGTERM causes the program to exit.",
			source:     "https://pkg.go.dev/os/signal#hdr-Default_behavior_of_signals_in_Go_programs",
			want:       findings{fails: "LC103 LC104 LC107", warns: "LC105", exit: 143}, wantDelayed: findings{fails: "LC103 LC107", warns: "LC105", exit: 143},
		},
		{
			name: "Go net/http with Shutdown", section: "Go", product: stdlib, module: "nethttp-shutdown",
			command: []string{"{{.Go}}/nethttp-shutdown"}, env: []string{"PORT={{.Port}}"}, target: web,
			documented: "Shutdown closes the listeners first, then idle connections, and waits for the others.",
			source:     "https://pkg.go.dev/net/http#Server.Shutdown",
			want:       findings{fails: "LC104", warns: "LC105"}, wantDelayed: findings{warns: "LC105"},
		},
	}
}
