//go:build linux

package main

// site is what a web server has below {{.Dir}}/www.
var site = map[string]string{"www/index.html": "hello\n", "www/slow": filler}

func webServers() []server {
	var all []server
	for _, s := range []server{nginx(), apache(), lighttpd()} {
		all = append(all, stops(s)...)
	}
	return all
}

// stops returns a web server's two ways to stop: at once and gracefully.
func stops(s server) []server {
	quick, graceful := s, s
	for one, signal := range map[*server]string{&quick: "TERM", &graceful: map[string]string{"nginx": "QUIT", "Apache httpd": "WINCH", "lighttpd": "INT"}[s.name]} {
		one.name, one.signal = s.name+", SIG"+signal, signal
	}
	quick.want, quick.wantDelayed = findings{fails: "LC103 LC104", warns: "LC105"}, findings{fails: "LC103", warns: "LC105"}
	graceful.want, graceful.wantDelayed = closesAtOnce, closesLater
	switch s.name {
	case "nginx":
		quick.documented = "TERM is a fast shutdown."
		graceful.documented = "QUIT is a graceful shutdown. The official image has it as its STOPSIGNAL."
	case "Apache httpd":
		quick.documented = "TERM is stop: requests in progress are terminated."
		graceful.documented = "WINCH is graceful-stop: children finish their current request. The official image has it as its STOPSIGNAL."
	case "lighttpd":
		quick.documented = "TERM stops the server at once."
		graceful.documented = "INT is a graceful shutdown."
		quick.want.warns, quick.wantDelayed.warns, quick.want.exit, quick.wantDelayed.exit = "LC105 LC106", "LC105 LC106", 1, 1
	}
	return []server{quick, graceful}
}

const webSection = "Web servers"

func nginx() server {
	return server{
		name: "nginx", section: webSection, product: nginxProduct, needs: []string{"nginx"}, installed: "nginx (Debian)",
		command: []string{"nginx", "-c", "{{.Dir}}/nginx.conf", "-g", "daemon off;"},
		files: with(site, "nginx.conf", `pid {{.Dir}}/pid;
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
`),
		target: web, source: "https://nginx.org/en/docs/control.html",
	}
}

var nginxProduct = product{
	name: "nginx", version: []string{"nginx", "-v"}, pattern: `nginx/([\d.]+)`, line: "1.22",
	ends: "2023-04-11", endsSource: "https://endoflife.date/nginx",
}

func apache() server {
	return server{
		name: "Apache httpd", section: webSection,
		product: product{
			name: "Apache httpd", version: []string{"apache2", "-v"}, pattern: `Apache/([\d.]+)`, line: "2.4",
			endsSource: "https://endoflife.date/apache-http-server",
		},
		needs: []string{"apache2"}, installed: "apache2 (Debian)",
		command: []string{"apache2", "-DFOREGROUND", "-f", "{{.Dir}}/apache2.conf"},
		files: with(site, "apache2.conf", `ServerRoot "{{.Dir}}"
ServerName localhost
Listen 127.0.0.1:{{.Port}}
PidFile "{{.Dir}}/pid"
ErrorLog "/dev/stderr"
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
LoadModule ratelimit_module /usr/lib/apache2/modules/mod_ratelimit.so
DocumentRoot "{{.Dir}}/www"
<Location "/slow">
	SetOutputFilter RATE_LIMIT
	SetEnv rate-limit 50
</Location>
`),
		target: web, source: "https://httpd.apache.org/docs/2.4/stopping.html",
	}
}

func lighttpd() server {
	return server{
		name: "lighttpd", section: webSection,
		product: product{
			name: "lighttpd", version: []string{"lighttpd", "-v"}, pattern: `lighttpd/([\d.]+)`, line: "1.4",
			endsSource: "https://www.lighttpd.net/", old: true,
		},
		needs: []string{"lighttpd"}, installed: "lighttpd (Debian)",
		command: []string{"lighttpd", "-D", "-f", "{{.Dir}}/lighttpd.conf"},
		files: with(site, "lighttpd.conf", `server.bind = "127.0.0.1"
server.port = {{.Port}}
server.document-root = "{{.Dir}}/www"
index-file.names = ( "index.html" )
$HTTP["url"] == "/slow" { connection.kbytes-per-second = 50 }
`),
		target: web, source: "https://redmine.lighttpd.net/projects/lighttpd/wiki/Docs_Signals",
	}
}
