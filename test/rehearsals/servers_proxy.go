//go:build linux

package main

const proxySection = "Proxies"

// backend is the server behind a proxy: it is not rehearsed, and keeps running.
var backend = []string{"{{.Go}}/nethttp"}

func proxies() []server { return append(haproxies(), caddy()) }

func haproxies() []server {
	base := server{
		section: proxySection,
		product: product{
			name: "HAProxy", version: []string{"haproxy", "-v"}, pattern: `version ([\d.]+)`, line: "2.6",
			ends: "2027-04-01", endsSource: "https://endoflife.date/haproxy",
		},
		needs: []string{"haproxy"}, installed: "haproxy (Debian)", module: "nethttp",
		command: []string{"haproxy", "-W", "-db", "-f", "{{.Dir}}/haproxy.cfg"}, alongside: backend,
		files: map[string]string{"haproxy.cfg": `defaults
	mode http
	timeout connect 5s
	timeout client 50s
	timeout server 50s
frontend front
	bind 127.0.0.1:{{.Port}}
	default_backend back
backend back
	server one 127.0.0.1:{{.Inner}}
`},
		target: web, source: "https://docs.haproxy.org/2.6/management.html#4",
	}
	term, soft := base, base
	term.name, term.signal = "HAProxy, SIGTERM", "TERM"
	term.documented = "SIGTERM stops it at once: all connections are closed."
	term.want, term.wantDelayed = findings{fails: "LC103 LC104", warns: "LC105"}, findings{fails: "LC103", warns: "LC105"}
	soft.name, soft.signal = "HAProxy, SIGUSR1", "USR1"
	soft.documented = "SIGUSR1 is a graceful stop: it stops listening, and exits with the last connection. The official image has it as its STOPSIGNAL."
	soft.want, soft.wantDelayed = closesAtOnce, closesLater
	return []server{term, soft}
}

func caddy() server {
	return server{
		name: "Caddy", section: proxySection, module: "caddy",
		product: product{
			name: "Caddy", version: []string{"{{.Go}}/caddy", "build-info"}, pattern: `github.com/caddyserver/caddy/v2\s+v([\d.]+)`, line: "2",
			endsSource: "https://endoflife.date/caddy",
		},
		command: []string{"{{.Go}}/caddy", "run", "--config", "{{.Dir}}/Caddyfile"}, alongside: backend,
		env: []string{"HOME={{.Dir}}"},
		files: map[string]string{"Caddyfile": `{
	admin off
	auto_https off
}
http://127.0.0.1:{{.Port}} {
	bind 127.0.0.1
	reverse_proxy 127.0.0.1:{{.Inner}}
}
`},
		target:     web,
		documented: "SIGTERM is a graceful stop. Without grace_period it waits for connections however long they take; without shutdown_delay it stops accepting at once.",
		source:     "https://caddyserver.com/docs/caddyfile/options#grace-period",
		want:       closesAtOnce, wantDelayed: closesLater,
	}
}
