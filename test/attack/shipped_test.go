//go:build linux

package attack

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestShipped_NothingThatIsShippedSwitchesTheDemonstrationOn(t *testing.T) {
	t.Parallel()
	on := regexp.MustCompile(`(?m)^\s*(- |")?(demoKinds"?:\s*true|--demo-kinds)`)
	look := func(file string) {
		if line := on.FindString(read(t, file)); line != "" {
			t.Errorf("%s has %q", file, strings.TrimSpace(line))
		}
	}
	look("../../cmd/lastcall/lastcall.example.yaml")
	look("../../examples/exec/lastcall.yaml")
	err := filepath.WalkDir("../../deploy", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			look(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

const (
	adminSecret  = "ADMINADMINADMINADMINADMIN"
	submitSecret = "SUBMITSUBMITSUBMITSUBMIT"
	forgedSecret = "EVILEVILEVILEVILEVILEVIL"
)

// tokens writes a token file with two tokens: one of an administrator, one that may only submit.
func (c *cage) tokens() string {
	c.t.Helper()
	file := filepath.Join(c.dir, "tokens")
	put(c.t, file, "admin read,submit,operate "+adminSecret+"\nsub submit "+submitSecret+"\n", 0o600)
	c.own(file)
	return file
}

// demoServer starts a server with tokens and with the flag for the demo kinds. It returns nil if
// the server refuses to start.
func (c *cage) demoServer() *server {
	c.t.Helper()
	s := c.begin(order{Args: []string{"--store", c.store(), "--token-file", c.tokens(), "--demo-kinds"}}, nil)
	until(c.t, "the server serves or ends", func() bool {
		if m := regexp.MustCompile(`lastcall serves .*(http://[^\s"]+)`).FindStringSubmatch(s.said()); m != nil {
			s.url = m[1]
		}
		return s.url != "" || ended(s.done)
	})
	if s.url == "" {
		if code := s.cmd.ProcessState.ExitCode(); code == 0 {
			c.t.Errorf("a server that refuses to start exits with 0:\n%s", s.said())
		}
		return nil
	}
	return s
}

// settle gives a task the time that it would need to run.
func (s *server) settle() {
	poll(time.Now().Add(3*time.Second), func() bool { return ended(s.done) })
}

func TestShipped_ATokenThatMaySubmitBecomesNoAdministrator(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	dir := filepath.Join(c.dir, "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "f"), "x", 0o644)
	c.own(dir)
	s := c.demoServer()
	if s == nil {
		return
	}
	before := read(t, filepath.Join(c.dir, "tokens"))
	s.ask(http.MethodPost, "/v1/tasks", submitSecret, fmt.Sprintf(`{"kind":"hash-tree","payload":{"dir":%q,"out":%q}}`, dir, filepath.Join(dir, "read,submit,operate "+forgedSecret)))
	s.settle()
	s.ask(http.MethodPost, "/v1/tasks", submitSecret, fmt.Sprintf(`{"kind":"hash-tree","payload":{"dir":%q,"out":%q}}`, dir, filepath.Join(c.dir, "tokens")))
	s.settle()
	if read(t, filepath.Join(c.dir, "tokens")) != before {
		t.Error("a submit has overwritten the token file")
	}
	if status, _ := s.ask(http.MethodGet, "/v1/counts", forgedSecret, ""); status != http.StatusUnauthorized {
		t.Errorf("a secret that a submit has made up is answered %d", status)
	}
	if status, _ := s.ask(http.MethodGet, "/v1/counts", adminSecret, ""); status != http.StatusOK {
		t.Errorf("the administrator's is answered %d", status)
	}
}

func TestShipped_ATokenThatMaySubmitOverwritesNoStore(t *testing.T) {
	t.Parallel()
	c := newCage(t)
	s := c.demoServer()
	if s == nil {
		return
	}
	file := filepath.Join(c.dir, "tasks.db")
	dir := filepath.Join(c.dir, "links")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c.own(dir)
	s.ask(http.MethodPost, "/v1/tasks", submitSecret, fmt.Sprintf(`{"kind":"hash-tree","payload":{"dir":%q,"out":%q}}`, dir, file))
	s.settle()
	if text := read(t, file); !strings.HasPrefix(text, "SQLite format 3\x00") {
		t.Errorf("a submit has overwritten the store: it begins with %.40q", text)
	}
}

func TestShipped_NoResultOfTheDemonstrationCanBeReadByOthers(t *testing.T) {
	t.Parallel()
	victim, attacker := newCage(t), newCage(t)
	private := filepath.Join(victim.dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(private, "f"), secret, 0o600)
	victim.own(private)
	s := victim.serve("--demo-kinds")
	out := filepath.Join(victim.dir, "loot.tgz")
	if err := os.Chmod(victim.dir, 0o777); err != nil { //nolint:gosec // as a shared directory
		t.Fatal(err)
	}
	s.ask(http.MethodPost, "/v1/tasks", "", fmt.Sprintf(`{"kind":"gzip-tree","payload":{"dir":%q,"out":%q}}`, private, out))
	s.settle()
	if code, _ := attacker.sh("cat " + out + " >/dev/null"); code == 0 {
		t.Error("another user reads what the demonstration made of a private directory")
	}
}
