package rehearse

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// portOf returns the port of a test server.
func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// answering is a server whose paths answer with their status; elsewhere and around redirect.
func answering(w http.ResponseWriter, r *http.Request) {
	switch name := strings.Trim(r.URL.Path, "/"); name {
	case "elsewhere":
		http.Redirect(w, r, "http://203.0.113.1/", http.StatusFound) // is not followed
	case "around":
		http.Redirect(w, r, "/200", http.StatusFound)
	case "to-503":
		http.Redirect(w, r, "/503", http.StatusFound)
	case "late":
		time.Sleep(300 * time.Millisecond)
	case "never":
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // the client may not have closed the connection yet
	case "cut":
		panic(http.ErrAbortHandler)
	case "header":
		if r.Header.Get("X-Probe") != "1" || r.Host != "pod.example" || r.Header.Get("User-Agent") != "kube-probe/1.37" {
			w.WriteHeader(http.StatusBadRequest)
		}
	default:
		if status, err := strconv.Atoi(name); err == nil {
			w.WriteHeader(status)
		}
	}
}

func TestAsk_OfARequestIsYesFrom200To399(t *testing.T) {
	plain, secret := httptest.NewServer(http.HandlerFunc(answering)), httptest.NewTLSServer(http.HandlerFunc(answering))
	defer plain.Close()
	defer secret.Close()
	p := &program{container: new(Container)}
	for _, c := range []struct {
		path string
		want answer
	}{
		{"200", yes},
		{"204", yes},
		{"399", yes},
		{"400", no},
		{"404", no},
		{"500", no},
		{"503", no},
		{"around", yes},
		{"elsewhere", yes}, // the redirect itself is the answer
		{"to-503", no},
		{"never", silent},
		{"cut", silent},
		{"header", yes},
	} {
		for _, scheme := range []string{"", "HTTP", "HTTPS"} {
			g := &HTTPGet{Scheme: scheme, Port: portOf(t, plain.URL), Path: c.path, Header: http.Header{"x-probe": {"1"}, "Host": {"pod.example"}}}
			if scheme == "HTTPS" {
				g.Port = portOf(t, secret.URL)
			}
			timeout := 10 * time.Second
			if c.path == "never" {
				timeout = 200 * time.Millisecond
			}
			if got, said := p.askOnce(t.Context(), &Probe{HTTPGet: g, Timeout: timeout}); got != c.want {
				t.Errorf("%s %s: %v (%s), want %v", scheme, c.path, got, said, c.want)
			}
		}
	}
	// A probe, unlike a hook, does not fall back to plain text.
	if got, said := p.ask(t.Context(), &Probe{HTTPGet: &HTTPGet{Scheme: "HTTPS", Port: portOf(t, plain.URL)}}); got != silent {
		t.Errorf("https to a server of plain text: %v (%s)", got, said)
	}
}

func TestAsk_OfAPortIsYesWhereSomebodyListens(t *testing.T) {
	p := &program{container: new(Container)}
	for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", network)
		if err != nil {
			t.Skipf("this machine has no %s: %v", network, err)
		}
		probe := &Probe{TCP: portOf(t, l.Addr().String())}
		if got, said := p.ask(t.Context(), probe); got != yes {
			t.Errorf("%s: %v (%s)", network, got, said)
		}
		l.Close()
		if got, said := p.ask(t.Context(), probe); got != silent {
			t.Errorf("%s, closed: %v (%s)", network, got, said)
		}
	}
}

// health is a server of the part of the gRPC health protocol that a probe needs.
func health(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) < frameHead || int(binary.BigEndian.Uint32(body[1:])) != len(body)-frameHead {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		service := string(body[min(len(body), frameHead+2):])
		if body := body[frameHead:]; len(body) > 0 && (body[0] != 0x0a || int(body[1]) != len(service)) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		if r.URL.Path != "/grpc.health.v1.Health/Check" || service == "nobody" {
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "unknown service")
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		message := map[string]string{"": "\x08\x01", "down": "\x08\x02", "empty": ""}[service]
		_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
		w.Header().Set("Grpc-Status", "0")
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

func TestAsk_OfGRPCIsYesWhereTheServiceIsServing(t *testing.T) {
	server := health(t)
	web := httptest.NewServer(http.HandlerFunc(answering)) // it does not speak HTTP/2 in plain text
	defer web.Close()
	p := &program{container: new(Container)}
	for _, c := range []struct {
		name, service string
		port          int
		want          answer
		text          string
	}{
		{"serving", "", portOf(t, server.URL), yes, "serving"},
		{"not serving", "down", portOf(t, server.URL), no, "not serving"},
		{"a status that was left out", "empty", portOf(t, server.URL), no, "not serving"},
		{"no such service", "nobody", portOf(t, server.URL), no, "unknown service"},
		{"a server of HTTP/1.1", "", portOf(t, web.URL), silent, ""},
	} {
		got, said := p.ask(t.Context(), &Probe{GRPC: &GRPC{Port: c.port, Service: c.service}})
		if got != c.want || !strings.Contains(said, c.text) {
			t.Errorf("%s: %v (%s), want %v with %q", c.name, got, said, c.want, c.text)
		}
	}
}

func TestAsk_OfACommandIsItsExitCode(t *testing.T) {
	t.Parallel()
	p := &program{container: new(Container)} // it has no namespace to enter
	for _, c := range []struct {
		command string
		want    answer
		text    string
	}{
		{"true", yes, ""},
		{"exit 3", no, "exit status 3"},
		{"kill -KILL $$", no, "killed"},
		{"sleep 60 & wait", silent, "no end in time"},
	} {
		got, said := p.ask(t.Context(), &Probe{Exec: []string{"/bin/sh", "-c", c.command}, Timeout: 2 * time.Second})
		if got != c.want || !strings.Contains(said, c.text) {
			t.Errorf("%s: %v (%s), want %v with %q", c.command, got, said, c.want, c.text)
		}
	}
	if got, said := p.ask(t.Context(), &Probe{Exec: []string{"/no/such/command"}}); got != unknown || !strings.Contains(said, "no such file") {
		t.Errorf("a command that is not there: %v (%s)", got, said)
	}
}

func TestHook_OfARequestSucceedsWhateverIsAnswered(t *testing.T) {
	agents := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.Header.Get("User-Agent")
		answering(w, r)
	}))
	defer server.Close()
	p, port := &program{container: new(Container)}, portOf(t, server.URL)
	for _, c := range []struct {
		hook Hook
		text string // of the error, empty for none
	}{
		{Hook{HTTPGet: &HTTPGet{Port: port, Path: "/200"}}, ""},
		{Hook{HTTPGet: &HTTPGet{Port: port, Path: "/500"}}, ""},
		{Hook{HTTPGet: &HTTPGet{Port: port, Path: "late"}}, ""},
		{Hook{HTTPGet: &HTTPGet{Port: port, Scheme: "HTTPS"}}, ""}, // sent again without TLS
		{Hook{HTTPGet: &HTTPGet{Port: port, Path: "cut"}}, "EOF"},
		{Hook{HTTPGet: &HTTPGet{Port: portOf(t, freeport.Address(t))}}, "refused"},
		{Hook{Sleep: new(time.Duration)}, ""},
	} {
		run := beginHook(p, &c.hook)
		<-run.ended
		if text := errorText(run.err); !strings.Contains(text, c.text) || (text == "") != (c.text == "") {
			t.Errorf("%s: %q, want %q", &c.hook, text, c.text)
		}
		if failed := run.isFailure(p); failed != (c.text != "") {
			t.Errorf("%s: failed %v", &c.hook, failed)
		}
	}
	if agent := <-agents; agent != "kube-lifecycle/1.37" {
		t.Errorf("the User-Agent is %q", agent)
	}
}

// A program may exit while its hook runs, by itself or since the hook has stopped it. A hook that
// fails with its container has not failed.
func TestHook_OfAProgramThatHasExitedIsNoFailure(t *testing.T) {
	killed := exec.CommandContext(t.Context(), "/bin/sh", "-c", "kill -KILL $$").Run()
	// As nsenter does when the namespace is gone.
	failed := exec.CommandContext(t.Context(), "/bin/sh", "-c", "exit 1").Run()
	const never = 2 * togetherWith
	for _, c := range []struct {
		err    error
		exited time.Duration // when the program is seen to have exited, after the hook
		want   bool
	}{
		{nil, never, false},
		{killed, never, true}, {killed, togetherWith - 1, false}, {killed, 0, false},
		{failed, never, true}, {failed, time.Millisecond, true}, {failed, 0, false},
		{io.EOF, never, true}, {io.EOF, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newProgram(new(Container), namespace)
			if c.exited == 0 {
				close(p.exited)
			} else {
				time.AfterFunc(c.exited, func() { close(p.exited) })
			}
			if got := (&hookRun{err: c.err}).isFailure(p); got != c.want {
				t.Errorf("%v, and the program exits %v later: failed %v, want %v", c.err, c.exited, got, c.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
