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

	"github.com/lastcall-go/lastcall/internal/freeport"
	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// fixture is what the containers of one test share.
type fixture struct {
	t     *testing.T
	r     *runtime
	dir   string // mounted as /shared
	store string // its address inside the container
	pod   pod
}

// kinds are programs for tasks. One works in steps and records each of them. In their first run,
// one of the others ignores SIGTERM, and one allocates all memory.
const kinds = `version: 1
concurrency: 4
kinds:
  steps:
    exec: [/helper, steps, /shared/ledger, %q]
  unresponsive:
    exec: [/helper, unresponsive, /shared]
    killAfter: 60s
  hog:
    exec: [/helper, hog, /shared]
`

// newFixture prepares containers with SQLite in the shared directory. Tasks of the kind steps do
// the given number of steps, ten per second.
func newFixture(t *testing.T, steps int) *fixture {
	t.Helper()
	r := containerd(t)
	f := &fixture{t: t, r: r, dir: t.TempDir(), store: "sqlite:/shared/tasks.db"}
	if err := os.Mkdir(filepath.Join(f.dir, "ledger"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "lastcall.yaml"), fmt.Appendf(nil, kinds, strconv.Itoa(steps)), 0o600); err != nil {
		t.Fatal(err)
	}
	f.pod = pod{user: 65532, mounts: map[string]string{"/shared": f.dir, "/helper": r.helper}}
	f.own()
	return f
}

// newPostgresGround prepares containers with a PostgreSQL, whose socket only its own user can
// reach.
func newPostgresGround(t *testing.T, steps int) *fixture {
	t.Helper()
	f := newFixture(t, steps)
	f.store = pgtest.New(t, "fsync=off").DSN("postgres")
	_, dir, _ := strings.Cut(f.store, "host=")
	f.pod.mounts[dir] = dir
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.pod.user = owner(info)
	f.own()
	return f
}

// own gives the shared directory to the containers' user.
func (f *fixture) own() {
	f.t.Helper()
	for _, name := range []string{"", "ledger", "lastcall.yaml"} {
		if err := os.Chown(filepath.Join(f.dir, name), int(f.pod.user), int(f.pod.user)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// server is a container with "lastcall serve".
type server struct {
	*container
	address string
}

// serve starts a server with the given grace, as in Kubernetes, and waits until it is ready.
func (f *fixture) serve(grace string) *server {
	f.t.Helper()
	return f.serveAs(f.pod, grace)
}

func (f *fixture) serveAs(p pod, grace string) *server {
	f.t.Helper()
	s := &server{address: freeport.Address(f.t)}
	p.args = []string{"serve", "--config", "/shared/lastcall.yaml", "--store", f.store, "--migrate", "--listen", s.address}
	p.env = map[string]string{"LASTCALL_GRACE": grace, "KUBERNETES_SERVICE_HOST": "127.0.0.1"}
	s.container = f.r.run(f.t, p)
	s.says("lastcall serves")
	until(f.t, "the server is ready", func() bool { return s.probe("/readyz") == http.StatusOK })
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

// record has the fields of a task that the tests read.
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

// steps returns what a task has written into its ledger.
func (f *fixture) steps(id string) (all []int) {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, "ledger", id))
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	for _, line := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(line)
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// works waits until a task has done some steps.
func (f *fixture) works(id string) {
	f.t.Helper()
	until(f.t, id+" works", func() bool { return len(f.steps(id)) > 2 })
}

// hurry makes the remaining steps of all tasks take no time.
func (f *fixture) hurry() {
	f.t.Helper()
	//nolint:gosec // for another user
	if err := os.WriteFile(filepath.Join(f.dir, "ledger", "fast"), nil, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// complete checks that a task did every step, and repeated no more steps than again.
func (f *fixture) complete(id string, steps, again int) {
	f.t.Helper()
	all := f.steps(id)
	if len(all) > steps+again {
		f.t.Errorf("%s did %d steps, %d of them again: at most %d", id, len(all), len(all)-steps, again)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) != steps {
		f.t.Errorf("%s did %v, want %d different steps", id, all, steps)
	}
}
