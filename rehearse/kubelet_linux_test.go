package rehearse

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// What a kubelet did (Kubernetes v1.36, containerd 1.6, two nodes) when a pod was stopped: the
// order of events, the times between them, the exit code, and requests that were lost. G is the
// pod's terminationGracePeriodSeconds.

// gap is the time between two events.
type gap struct {
	from, to string
	d        time.Duration
}

// soon is how long a busy machine may delay an event. No event may be early.
const soon = 1500 * time.Millisecond

func pausing(d time.Duration) Container { return Container{PreStop: &Hook{Sleep: &d}} }

// stopped is one stop that was measured.
type stopped struct {
	name   string
	how    string // of the server
	config Config
	order  []string
	times  []gap
	exit   int
	long   bool // only in the full tests
}

// withHooks are the stops whose grace period is shared by a hook.
func withHooks() []stopped {
	return []stopped{
		{
			name: "deleted, preStop 2 s, drain 2 s, G 8: TERM 2.06 s after the hook began", how: "good",
			config: Config{Program: hook("sleep 2"), Grace: 8 * time.Second},
			order:  []string{"deleted", "preStop", "preStop ended", "stop signal", "exited"},
			times:  []gap{{"preStop", "stop signal", 2 * time.Second}, {"stop signal", "exited", 2 * time.Second}},
		},
		{
			name: "ignores TERM, preStop 2 s, G 5: TERM after 2 s, KILL 3 s later", how: "hangs",
			config: Config{Program: pausing(2 * time.Second), Grace: 5 * time.Second},
			order:  []string{"deleted", "preStop", "preStop ended", "stop signal", "SIGKILL"},
			times:  []gap{{"preStop", "stop signal", 2 * time.Second}, {"stop signal", "SIGKILL", 3 * time.Second}},
			exit:   137,
		},
		{
			name: "preStop 20 s, G 4: the hook has failed after 4 s, TERM at once", how: "at-once",
			config: Config{Program: hook("sleep 20"), Grace: 4 * time.Second},
			order:  []string{"deleted", "preStop", "preStop overran", "stop signal", "exited"},
			times:  []gap{{"preStop", "stop signal", 4 * time.Second}},
		},
		{
			name: "the same, and TERM is ignored: KILL after 2 s more", how: "hangs",
			config: Config{Program: hook("sleep 20"), Grace: 3 * time.Second},
			order:  []string{"deleted", "preStop", "preStop overran", "stop signal", "SIGKILL"},
			times:  []gap{{"preStop", "stop signal", 3 * time.Second}, {"stop signal", "SIGKILL", 2 * time.Second}},
			exit:   137, long: true,
		},
		{
			name: "preStop of a missing binary: the hook has failed, TERM at once", how: "good",
			config: Config{Program: Container{PreStop: &Hook{Exec: []string{"/no/such/binary"}}}, Grace: 8 * time.Second},
			order:  []string{"deleted", "preStop failed", "stop signal", "exited"},
			times:  []gap{{"deleted", "stop signal", 0}},
		},
		{
			name: "preStop sleep 2 s", how: "good",
			config: Config{Program: pausing(2 * time.Second), Grace: 8 * time.Second},
			order:  []string{"deleted", "preStop", "preStop ended", "stop signal", "exited"},
			times:  []gap{{"preStop", "stop signal", 2 * time.Second}},
		},
	}
}

// withoutHooks are the other stops.
func withoutHooks() []stopped {
	return []stopped{
		{
			name: "delete with a grace period of 1 s: KILL 2 s after TERM", how: "hangs",
			config: Config{Grace: time.Second},
			order:  []string{"deleted", "stop signal", "SIGKILL"},
			times:  []gap{{"stop signal", "SIGKILL", 2 * time.Second}},
			exit:   137,
		},
		{
			name: "force delete: TERM, KILL 2 s later", how: "hangs",
			config: Config{Scenarios: []Scenario{ForceDelete}},
			order:  []string{"deleted", "stop signal", "SIGKILL"},
			times:  []gap{{"deleted", "stop signal", 0}, {"stop signal", "SIGKILL", 2 * time.Second}},
			exit:   137,
		},
		{
			name: "hard eviction: TERM, KILL 2 s later", how: "hangs",
			config: Config{Scenarios: []Scenario{HardEviction}},
			order:  []string{"evicted", "stop signal", "SIGKILL"},
			times:  []gap{{"evicted", "stop signal", 0}, {"stop signal", "SIGKILL", 2 * time.Second}},
			exit:   137,
		},
		{
			name: "soft eviction, evictionMaxPodGracePeriod 6: KILL after 6 s, the endpoint stays until then", how: "hangs",
			config: Config{Scenarios: []Scenario{SoftEviction}, NodeGrace: 6 * time.Second, Grace: 20 * time.Second},
			order:  []string{"evicted", "stop signal", "SIGKILL"},
			times:  []gap{{"stop signal", "SIGKILL", 6 * time.Second}},
			exit:   137, long: true,
		},
		{
			name: "liveness failure, G 3: preStop, TERM, KILL after G, started again", how: "hangs",
			config: Config{Scenarios: []Scenario{LivenessFailure}, Program: pausing(time.Second), Grace: 4 * time.Second},
			order:  []string{"not alive", "preStop", "preStop ended", "stop signal", "SIGKILL", "started again", "ready"},
			times:  []gap{{"preStop", "stop signal", time.Second}, {"stop signal", "SIGKILL", 3 * time.Second}},
			exit:   137, long: true,
		},
		{
			name: "no handler: gone at once", how: "no-handler",
			config: Config{Grace: 8 * time.Second},
			order:  []string{"deleted", "stop signal", "exited"},
			times:  []gap{{"stop signal", "exited", 0}},
			exit:   exitBySignal,
		},
		{
			name: "killed: what it has left in its files is there when it is started again", how: "flocks",
			config: Config{Scenarios: []Scenario{Crash}},
			order:  []string{"killed", "started again", "ready"},
			exit:   137,
		},
	}
}

func TestKubelet_TheSameEventsInTheSameOrder(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(withHooks(), withoutHooks()) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.long && testing.Short() {
				t.Log("make test-full: this one at all")
				return
			}
			where := freeport.Address(t)
			c.config.Traffic = []Target{{URL: "http://" + where}}
			c.config.Program.Command = []string{server, c.how}
			c.config.Program.Env = []string{"ADDRESS=" + where, "LOCK=" + t.TempDir() + "/lock"}
			r, err := rehearse(t, c.config)
			if err != nil {
				t.Fatal(err)
			}
			c.compare(t, r)
		})
	}
}

// compare compares a rehearsal with what a kubelet did.
func (c *stopped) compare(t *testing.T, r *Result) {
	t.Helper()
	if got := whatOf(r, c.order); !slices.Equal(got, c.order) {
		t.Errorf("%q, want %q", got, c.order)
	}
	for _, a := range c.times {
		if d := eventAt(r, a.to) - eventAt(r, a.from); d < a.d-20*time.Millisecond || d > a.d+soon {
			t.Errorf("%s %v after %s, want %v", a.to, d, a.from, a.d)
		}
	}
	if got := r.ExitCode; got != c.exit {
		t.Errorf("exit code %d, want %d", got, c.exit)
	}
	if slices.Contains([]Scenario{SoftEviction, HardEviction}, r.Scenario) &&
		slices.ContainsFunc(r.Events, func(e Event) bool { return e.What == "endpoint gone" && e.At < eventAt(r, "SIGKILL") }) {
		t.Error("the endpoint goes before the container")
	}
	if t.Failed() {
		t.Log(describe(r))
	}
}

// whatOf returns the events with these names, from the deletion on, in order.
func whatOf(r *Result, names []string) (found []string) {
	for _, e := range r.Events {
		if slices.Contains(names, e.What) && (e.What == names[0] || len(found) > 0) {
			found = append(found, e.What)
		}
	}
	return found
}

// eventAt is the time of the last event with a name.
func eventAt(r *Result, what string) (at time.Duration) {
	for _, e := range r.Events {
		if e.What == what {
			at = e.At
		}
	}
	return at
}

// The User-Agent of a hook's GET is kube-lifecycle and a version, and the answer does not matter.
func TestKubelet_ThePreStopRequestNamesItself(t *testing.T) {
	t.Parallel()
	var agent atomic.Value
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent.Store(r.Method + " " + r.URL.Path + " " + r.UserAgent())
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer asked.Close()
	port := portOf(t, asked.Listener.Addr().String())
	where := freeport.Address(t)
	r, err := rehearse(t, Config{
		Traffic: []Target{{URL: "http://" + where}},
		Program: Container{
			Command: []string{server, "good"}, Env: []string{"ADDRESS=" + where},
			PreStop: &Hook{HTTPGet: &HTTPGet{Port: port, Path: "/stop"}},
		},
		Grace: 8 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := agent.Load().(string); !strings.HasPrefix(got, "GET /stop kube-lifecycle/") {
		t.Errorf("the hook asked %q", got)
	}
	if want := []string{"preStop", "preStop ended", "stop signal", "exited"}; !slices.Equal(whatOf(r, want), want) || r.ExitCode != 0 {
		t.Errorf("want %q\n%s", want, describe(r))
	}
}

// Three replicas behind a Service under 150 new connections a second are all replaced: each pod
// gets 50 a second, and loses this many at its deletion. The endpoint was gone 0.13 to 0.29 s after
// it.
func TestKubelet_TheSameRequestsAreLost(t *testing.T) {
	t.Parallel()
	const lag = 250 * time.Millisecond
	for _, c := range []struct {
		name, how string
		hook      *Hook
		lost      float64 // of each deletion
	}{
		{"no handling: 37 of 1,798 in one rollout, 78 of 1,916 in two", "no-handler", nil, 12.7},
		{"exits at once: 33 in one rollout", "exits", nil, 11},
		{"Shutdown at once: 80 of 1,655 in two", "at-once", nil, 13.3},
		{"preStop sleep 2 s: none was refused", "at-once", pausing(2 * time.Second).PreStop, 0},
		{"3 s delay with Connection: close: 0 of 2,667", "good", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			where := freeport.Address(t)
			r, err := rehearse(t, Config{
				Program: Container{Command: []string{server, c.how}, Env: []string{"ADDRESS=" + where}, PreStop: c.hook},
				Traffic: []Target{{URL: "http://" + where}}, Rate: 50, EndpointLag: lag, Grace: 20 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			// On a busy machine a program takes a part of the lag to exit, and answers meanwhile. Clients
			// are late, too, or connect after the lag.
			lost, least := float64(refusedOf(r)), c.lost/2
			if c.lost > 0 {
				open := float64(eventAt(r, "endpoint gone")-eventAt(r, "exited")) / float64(lag)
				if least = least*min(1, max(0, open)) - float64(r.NotSent); open > 0.5 {
					least = max(1, least)
				}
			}
			if c.lost == 0 && lost != 0 || lost < least || lost > 2*c.lost {
				t.Errorf("%v were lost, want %.1f to %v: a rollout lost %v for each pod\n%s", lost, least, 2*c.lost, c.lost, describe(r))
			}
		})
	}
}

// refusedOf returns how many connections were refused while clients were still routed to the
// program.
func refusedOf(r *Result) (n int) {
	for _, f := range r.Findings {
		if f.Code == RefusedEarly {
			_, _ = fmt.Sscanf(f.Seen, "%d", &n)
		}
	}
	return n
}
