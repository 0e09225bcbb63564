//go:build unix

package stop_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/stopwatch"
)

// httpProgram serves on a free port, which it prints. A request for /slow takes as long as the test
// wants.
func httpProgram(cfg lastcall.Config) int {
	return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/", fine)
		mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
			say("slow request")
			_ = hear()
			_, _ = io.WriteString(w, "complete")
		})
		mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
			if !g.Ready() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		g.Defer("database", lastcall.CloseFunc(func() error { say("closed the database"); return nil }))
		defer say("addr %s", l.Addr())
		return g.HTTP("api", &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, l)
	})
}

func (p *process) addr() string {
	p.t.Helper()
	return strings.TrimPrefix(p.says("addr "), "addr ")
}

func TestStop_WithNothingToDoTakesMillisecondsFromSignalToExit(t *testing.T) {
	t.Parallel()
	p := start(t, func() int { return httpProgram(config(time.Minute)) })
	addr := p.addr()
	idle, unused := keepAlive(t, addr), dial(t, addr)
	watch := stopwatch.Start(t)
	p.signal(stopSignal)
	p.exits(0)
	t.Logf("from signal to exit: %v", watch.AtMost(250*time.Millisecond, "a stop with nothing to do"))
	closed(t, idle)
	closed(t, unused)
}

func TestServer_ARollingRestartUnderLoadShowsNoClientAnError(t *testing.T) {
	t.Parallel()
	// A busy machine may run a client for the first time a second after it has read the address.
	const delay, propagation = 3 * time.Second, 500 * time.Millisecond
	program := func() int {
		cfg := config(time.Minute)
		cfg.Delay = delay
		return httpProgram(cfg)
	}
	if os.Getenv(programVariable) != "" {
		start(t, program)
	}
	old := start(t, program)
	before := "http://" + old.addr()
	load := newLoad(t, before)
	started := start(t, program)
	after := "http://" + started.addr()
	old.signal(stopSignal)
	old.logs(`phase="last call"`)
	lag := time.AfterFunc(propagation, func() { load.url.Store(&after) })
	defer lag.Stop()
	old.exits(0)
	answers := load.stop()
	if answers[before] == 0 || answers[after] == 0 {
		t.Errorf("answers by address: %v, want some from both", answers)
	}
	started.signal(stopSignal)
	started.exits(0)
	t.Logf("%d answers before, %d after the change", answers[before], answers[after])
}

// load simulates clients that find the program as in Kubernetes: by an address that changes some
// time after the old process has received the signal.
type load struct {
	url     atomic.Pointer[string]
	done    chan struct{}
	clients sync.WaitGroup
	mu      sync.Mutex
	answers map[string]int // by address
}

func newLoad(t *testing.T, url string) *load {
	l := &load{done: make(chan struct{}), answers: map[string]int{}}
	l.url.Store(&url)
	for i := range 6 {
		client := newClient(t)
		if i%2 == 0 {
			client.Transport.(*http.Transport).DisableKeepAlives = true
		}
		l.clients.Go(func() { l.ask(t, client) })
	}
	return l
}

func (l *load) ask(t *testing.T, client *http.Client) {
	for {
		select {
		case <-l.done:
			return
		default:
		}
		url := *l.url.Load()
		if _, err := fetch(client, url); err != nil {
			t.Errorf("a client saw %v", err)
			return
		}
		l.mu.Lock()
		l.answers[url]++
		l.mu.Unlock()
	}
}

func (l *load) stop() map[string]int {
	close(l.done)
	l.clients.Wait()
	return l.answers
}

func TestServer_InKubernetesAServerAcceptsFor3SecondsAfterTheSignalAndIsNotReady(t *testing.T) {
	t.Parallel()
	p := start(t, func() int { return httpProgram(config(30 * time.Second)) },
		func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "KUBERNETES_SERVICE_HOST=10.0.0.1") })
	url := "http://" + p.addr()
	client := newClient(t)
	for status := ""; status != "200 OK"; { // setup may not have returned yet
		status = statusOf(t, client, url+"/ready")
	}
	watch := stopwatch.Start(t)
	p.signal(stopSignal)
	p.logs(`phase="last call"`)
	if got := statusOf(t, client, url+"/ready"); got != "503 Service Unavailable" {
		t.Errorf("after last call readiness is %s", got)
	}
	get(t, client, url)
	p.exits(0)
	if took := watch.AtMost(5*time.Second, "the stop"); took < 3*time.Second {
		t.Errorf("the stop took %v, want the delay of 3 s", took)
	}
	// 30 s of grace are 29 s of budget: the kubelet counts whole seconds.
	p.logs(`phase="last call" signal=SIGTERM goroutines=1 left=26.`)
}

func statusOf(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.Status
}

func TestMistake01_TheProgramEndsOnlyWhenTheDrainIsOver(t *testing.T) {
	t.Parallel()
	p := start(t, func() int { return httpProgram(config(time.Minute)) })
	slow := fetching(newClient(t), "http://"+p.addr()+"/slow")
	p.says("slow request")
	p.signal(stopSignal)
	p.logs("phase=drain")
	p.tell("go on")
	if a := arrives(t, "the answer", slow); a.err != nil || a.body != "complete" {
		t.Errorf("the request in flight ended with %q, %v", a.body, a.err)
	}
	p.says("closed the database")
	p.exits(0)
	p.reports("finished    request api")
}
