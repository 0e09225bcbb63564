//go:build linux

package main

// jsp are the flags for a JSP page that sleeps. All requests use the same page, since the first
// request for a page compiles it.
var jsp = []string{
	"--http", "http://127.0.0.1:{{.Port}}/index.jsp?ms=0", "--slow", "http://127.0.0.1:{{.Port}}/index.jsp?ms=1500", "--ready", "2m",
}

const sleepingPage = `<%@ page contentType="text/plain" %><% Thread.sleep(Long.parseLong(request.getParameter("ms"))); %>done
`

func javaServers() []server {
	const section = "Java"
	return []server{
		{
			name: "Tomcat", section: section,
			product: product{
				name: "Tomcat", version: []string{"/usr/share/tomcat10/bin/version.sh"}, pattern: `Apache Tomcat/([\d.]+)`, line: "10.1",
				endsSource: "https://endoflife.date/tomcat",
			},
			needs: []string{"/usr/share/tomcat10/bin/catalina.sh", "java"}, installed: "tomcat10 (Debian), Java",
			command: []string{"/usr/share/tomcat10/bin/catalina.sh", "run"}, env: []string{"CATALINA_BASE={{.Dir}}"},
			files: map[string]string{
				"webapps/ROOT/index.jsp": sleepingPage, "temp/none": "", "logs/none": "",
				"conf/web.xml": webXML,
				"conf/server.xml": `<Server port="-1">
  <Service name="Catalina">
    <Connector port="{{.Port}}" address="127.0.0.1" protocol="HTTP/1.1" connectionTimeout="20000"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps"/>
    </Engine>
  </Service>
</Server>
`,
			},
			target:     jsp,
			documented: "A context waits for requests for unloadDelay, 2 s, before its servlets are unloaded.",
			source:     "https://tomcat.apache.org/tomcat-10.1-doc/config/context.html",
			want:       findings{fails: "LC104", warns: "LC105 LC106", exit: 143}, wantDelayed: findings{warns: "LC105 LC106", exit: 143},
		},
		{
			name: "Jetty", section: section,
			product: product{
				name: "Jetty", version: []string{"dpkg-query", "-W", "-f", "${Version}", "libjetty9-java"}, pattern: `^([\d.]+)`, line: "9.4",
				ends: "2025-02-19", endsSource: "https://endoflife.date/eclipse-jetty",
			},
			needs: []string{"/usr/share/jetty9/start.jar", "java"}, installed: "jetty9 (Debian), Java",
			command: []string{
				"java", "-Djetty.home=/usr/share/jetty9", "-Djetty.base={{.Dir}}", "-jar", "/usr/share/jetty9/start.jar",
				"jetty.http.host=127.0.0.1", "jetty.http.port={{.Port}}", "--module=http,deploy,jsp,ext,resources",
			},
			files:      map[string]string{"webapps/root/index.jsp": sleepingPage, "resources/none": "", "lib/ext/none": ""},
			target:     jsp,
			documented: "stopTimeout waits for requests only if a StatisticsHandler is configured, which is not the default.",
			source:     "https://jetty.org/docs/jetty/9/index.html",
			want:       findings{fails: "LC103 LC104", warns: "LC105 LC106", exit: 143}, wantDelayed: findings{fails: "LC103", warns: "LC105 LC106", exit: 143},
		},
	}
}

// webXML is the part of Tomcat's default that one page needs.
const webXML = `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet><servlet-name>jsp</servlet-name><servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class></servlet>
  <servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
</web-app>
`
