package rehearse

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// listeningAs is a server of only HTTP/1.1, or only HTTP/2 without TLS.
func listeningAs(t *testing.T, http2 bool, handler http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(!http2)
	server.Config.Protocols.SetUnencryptedHTTP2(http2)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestSpeaks_KnowsAServerByWhatItAnswers(t *testing.T) {
	t.Parallel()
	hello := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }
	overTLS := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	overTLS.Config.ErrorLog = log.New(io.Discard, "", 0) // about clients without TLS
	overTLS.StartTLS()
	t.Cleanup(overTLS.Close)
	says := func(text string) string {
		return accepting(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1000)); _, _ = io.WriteString(c, text) })
	}
	for name, c := range map[string]struct{ address, want string }{
		"HTTP":                   {listeningAs(t, false, hello), "http"},
		"HTTP that is not ready": {listeningAs(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }), "http"},
		"HTTP that wants more":   {listeningAs(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }), "http"},
		"HTTPS":                  {overTLS.Listener.Addr().String(), "https"},
		"HTTP/2":                 {listeningAs(t, true, hello), "h2c"},
		"gRPC": {listeningAs(t, true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "12")
		}), "grpc"},
		"errors of its own": {says("-ERR unknown command\r\n"), "tcp"},
		"no word":           {says(""), "tcp"},
		"a greeting":        {accepting(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "220 ready\r\n"); _, _ = io.Copy(io.Discard, c) }), "tcp"},
		"silence":           {accepting(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }), ""},
		"nobody":            {"127.0.0.1:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := speaks(t.Context(), c.address); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestProbed_IsThePortOfTheReadinessProbeAndNotItsPath(t *testing.T) {
	for _, c := range []struct {
		probe *Probe
		want  string
	}{
		{nil, ""},
		{&Probe{Exec: []string{"true"}}, ""},
		{&Probe{HTTPGet: &HTTPGet{Port: 8080, Path: "/readyz"}}, "http://127.0.0.1:8080/"},
		{&Probe{HTTPGet: &HTTPGet{Scheme: "HTTPS", Port: 8443, Path: "/readyz"}}, "https://127.0.0.1:8443/"},
		{&Probe{TCP: 6379}, "tcp://127.0.0.1:6379"},
		{&Probe{GRPC: &GRPC{Port: 9090, Service: "shop.Orders"}}, "grpc://127.0.0.1:9090/shop.Orders"},
	} {
		got := ""
		if to := probed(c.probe); to != nil {
			got = to.String()
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.probe, got, c.want)
		}
	}
}

func TestTarget_OffersHTTP2WhenItsServerDoes(t *testing.T) {
	for _, offers := range []bool{true, false} {
		versions := make(chan string, 1000)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case versions <- r.Proto + " " + r.Host:
			default:
			}
		}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // about clients that were closed
		server.EnableHTTP2 = offers
		server.StartTLS()
		to := targets(t, Target{URL: server.URL})
		said, err := answers(t.Context(), to)
		if err != nil || said != "GET / 200" {
			t.Errorf("%q, %v", said, err)
		}
		tr := newTraffic(to, 50)
		seen := map[string]bool{}
		for asked := 0; asked < 20 || offers && !tr.had(keptHTTP2); asked++ {
			seen[<-versions] = true
		}
		tr.stop()
		server.Close()
		host := strings.TrimPrefix(server.URL, "https://")
		if !seen["HTTP/1.1 "+host] || seen["HTTP/2.0 "+host] != offers || len(tr.failed) > 0 || tr.had(keptHTTP2) != offers {
			t.Errorf("offered %v: asked %v, failed %v", offers, seen, tr.failed)
		}
	}
}
