package container

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// ground is what the containers of one test share.
type ground struct {
	t     *testing.T
	r     *runtime
	dir   string // mounted as /ground
	store string // as in the container
	pod   pod
}

// kinds are programs for tasks: one works in steps and writes each down, the others do not hear SIGTERM, or take all memory, in their first run.
const kinds = `version: 1
concurrency: 4
kinds:
  steps:
    exec: [/helper, steps, /ground/ledger, %q]
  deaf:
    exec: [/helper, deaf, /ground]
    killAfter: 60s
  hog:
    exec: [/helper, hog, /ground]
`

// newGround prepares containers with SQLite in the shared directory. Tasks of the kind steps
// do a number of them, ten a second.
func newGround(t *testing.T, steps int) *ground {
	t.Helper()
	r := containerd(t)
	g := &ground{t: t, r: r, dir: t.TempDir(), store: "sqlite:/ground/tasks.db"}
	if err := os.Mkdir(filepath.Join(g.dir, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "lastcall.yaml"), fmt.Appendf(nil, kinds, strconv.Itoa(steps)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.pod = pod{user: 65532, mounts: map[string]string{"/ground": g.dir, "/helper": r.helper}}
	g.own()
	return g
}

// newPostgresGround prepares containers with a PostgreSQL, whose socket only its own user can reach.
func newPostgresGround(t *testing.T, steps int) *ground {
	t.Helper()
	g := newGround(t, steps)
	g.store = pgtest.New(t).DSN("postgres")
	_, dir, _ := strings.Cut(g.store, "host=")
	g.pod.mounts[dir] = dir
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	g.pod.user = owner(info)
	g.own()
	return g
}

// own gives the shared directory to the containers' user.
func (g *ground) own() {
	g.t.Helper()
	for _, name := range []string{"", "ledger", "lastcall.yaml"} {
		if err := os.Chown(filepath.Join(g.dir, name), int(g.pod.user), int(g.pod.user)); err != nil {
			g.t.Fatal(err)
		}
	}
}

// server is a container with "lastcall serve".
type server struct {
	*container
	address string
}

// serve starts a server that believes in a grace, as in Kubernetes, and waits until it is ready.
func (g *ground) serve(grace string) *server {
	g.t.Helper()
	return g.serveAs(g.pod, grace)
}

func (g *ground) serveAs(p pod, grace string) *server {
	g.t.Helper()
	s := &server{address: freePort(g.t)}
	p.args = []string{"serve", "--config", "/ground/lastcall.yaml", "--store", g.store, "--migrate", "--listen", s.address}
	p.env = map[string]string{"LASTCALL_GRACE": grace, "KUBERNETES_SERVICE_HOST": "127.0.0.1"}
	s.container = g.r.run(g.t, p)
	s.says("lastcall serves")
	until(g.t, "the server is ready", func() bool { return s.probe("/readyz") == http.StatusOK })
	return s
}

func (s *server) probe(path string) int {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.address+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // nothing was read
	return resp.StatusCode
}

// submit submits a task through the server, from within its container.
func (s *server) submit(kind string) string {
	s.t.Helper()
	return strings.TrimSpace(s.exec("/lastcall", "submit", "--server", "http://"+s.address, kind, "{}"))
}

// record is what the tests read of a task.
type record struct {
	Status, Reason                         string
	Runs, Attempts, Interruptions, Crashes int
	History                                []struct {
		Status, Reason string
		Crashed        bool
		StartedAt      time.Time
	}
}

func (s *server) show(id string) record {
	s.t.Helper()
	var r record
	out := s.exec("/lastcall", "show", "--json", "--server", "http://"+s.address, id)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Fatalf("show: %v\n%s", err, out)
	}
	return r
}

// reaches waits until a task has a status.
func (s *server) reaches(id, want string) record {
	s.t.Helper()
	var r record
	until(s.t, id+" is "+want, func() bool {
		r = s.show(id)
		return r.Status == want
	})
	return r
}

// steps are what a task has written into its ledger.
func (g *ground) steps(id string) (all []int) {
	g.t.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, "ledger", id))
	if err != nil && !os.IsNotExist(err) {
		g.t.Fatal(err)
	}
	for _, line := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(line)
		if err != nil {
			g.t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// works waits until a task has done some steps.
func (g *ground) works(id string) {
	g.t.Helper()
	until(g.t, id+" works", func() bool { return len(g.steps(id)) > 2 })
}

// hurry makes the steps of all tasks take no time.
func (g *ground) hurry() {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, "ledger", "fast"), nil, 0o644); err != nil { //nolint:gosec // for another user
		g.t.Fatal(err)
	}
}

// complete checks that a task did every step, and at most so many of them twice.
func (g *ground) complete(id string, steps, again int) {
	g.t.Helper()
	all := g.steps(id)
	if len(all) > steps+again {
		g.t.Errorf("%s did %d steps, %d of them again: at most %d", id, len(all), len(all)-steps, again)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) != steps {
		g.t.Errorf("%s did %v, want %d different steps", id, all, steps)
	}
}
