package main

func webServers() []server {
	nginx := server{
		section: "Web servers and proxies",
		product: product{
			name: "nginx", version: []string{"nginx", "-v"}, pattern: `nginx/([\d.]+)`, line: "1.22",
			ends: "2023-04-11", endsSource: "https://endoflife.date/nginx",
		},
		needs: []string{"nginx"}, installed: "nginx (Debian)",
		command: []string{"nginx", "-c", "{{.Dir}}/nginx.conf", "-g", "daemon off;"},
		files: map[string]string{
			"www/index.html": "hello\n", "www/slow": filler,
			"nginx.conf": `pid {{.Dir}}/pid;
error_log stderr;
events {}
http {
	access_log off;
	server {
		listen 127.0.0.1:{{.Port}};
		root {{.Dir}}/www;
		location /slow { limit_rate 50k; }
	}
}
`,
		},
		target: web,
		source: "https://nginx.org/en/docs/control.html",
	}
	term, quit := nginx, nginx
	term.name = "nginx, SIGTERM"
	term.documented = "TERM is a fast shutdown."
	term.want, term.wantDelayed = findings{fails: "LC103 LC104", warns: "LC105"}, findings{fails: "LC103", warns: "LC105"}
	quit.name, quit.signal = "nginx, SIGQUIT", "QUIT"
	quit.documented = "QUIT is a graceful shutdown. The official image has it as its STOPSIGNAL."
	quit.want, quit.wantDelayed = findings{fails: "LC104", warns: "LC105"}, findings{warns: "LC105"}
	return []server{term, quit}
}

// filler is a file that takes some time at 50 KiB a second; the run makes it so large.
const filler = "{{.Filler}}"
