package test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/internal/stopwatch"
)

func TestTakeover_ANeighbourTakesOverAKilledServersTaskWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "tasks.db")
	takeoverFrom(t, store, start(t, store), inTwoSeconds)
}

func TestTakeover_ANeighbourOnPostgresTakesOverAKilledServersTaskWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	store := pgtest.DSN(t)
	// The session of a process must have been gone for three times as long as the process needs to
	// connect, and for 0.4 s at least, to prove that it is dead. A busy machine connects slowly. The
	// process records that while it lives, and its row goes with its takeover.
	takeoverFrom(t, store, start(t, store), func() time.Duration {
		db, err := sql.Open("pgx", store)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var confirm int64
		if err := db.QueryRowContext(t.Context(), `select max(confirm) from lastcall.workers`).Scan(&confirm); err != nil {
			t.Fatal(err)
		}
		return 2*time.Second - 400*time.Millisecond + max(400*time.Millisecond, time.Duration(confirm)*time.Microsecond)
	})
}

// inTwoSeconds is the limit for a takeover in a store that knows the processes of this machine.
func inTwoSeconds() time.Duration { return 2 * time.Second }

// takeoverFrom kills a server, and a second one resumes its task within a limit, which is known
// when the first one is dead.
func takeoverFrom(t *testing.T, store string, first *server, limit func() time.Duration) {
	t.Helper()
	work := t.TempDir()
	id := first.submit("gzip-tree", source(t), filepath.Join(work, "out"))
	first.reaches(id, "running")
	second := start(t, store)

	first.signal(syscall.SIGKILL)
	first.exit()
	watch := stopwatch.Start(t)
	most := limit()
	second.waitLog(`msg="task interrupted" task=` + id)
	second.waitLog(`msg="task running" task=` + id)
	t.Logf("taken over after %v", watch.AtMost(most, "the takeover"))
	r := second.reaches(id, "running")
	if r.Crashes != 1 || r.Interruptions != 0 || r.Runs != 2 {
		t.Errorf("%d crashes, %d interruptions, %d runs; want 1, 0, 2", r.Crashes, r.Interruptions, r.Runs)
	}
	second.signal(syscall.SIGKILL)
	second.exit()
}

func TestServe_ASecondServerOnOnePortSaysWhatToDo(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	s := start(t, "sqlite:"+filepath.Join(work, "tasks.db"))
	code, out := fails(t, "serve", "--store", "sqlite:"+filepath.Join(work, "other.db"), "--listen", s.url[len("http://"):])
	if code != 1 || !bytes.Contains(out, []byte("another program has the port")) {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	stop(s)
}

func TestCommandLine_MistakesOnTheCommandLineAreToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	s := start(t, "sqlite:"+filepath.Join(work, "tasks.db"))
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"serve"}, 1, "--store sqlite:PATH"},
		{[]string{"serve", "--store", "mysql://u:secret@h/d"}, 1, "use sqlite:PATH"},
		{[]string{"serve", "--store", "sqlite:" + work + "/no/such/tasks.db", "--listen", "127.0.0.1:0"}, 1, "does not exist: make it"},
		{[]string{"serve", "--store", "sqlite:" + work + "/x.db", "--listen", "0.0.0.0:8321"}, 1, "not a loopback address"},
		{[]string{"serve", "--store", "sqlite:" + work + "/x.db", "--grace", "30"}, 2, "it has no unit: use 30s"},
		{[]string{"serve", "--store", "sqlite:" + work + "/x.db", "--grace", "-3s"}, 2, "positive duration"},
		{[]string{"serve", "--config", work + "/none.yaml"}, 1, "no such file"},
		{[]string{"submit", "--server", s.url, "no thing", "{}"}, 1, "only letters, digits"},
		{[]string{"submit", "--server", s.url, "hash-tree", "{dir: 1}"}, 1, "not JSON"},
		{[]string{"submit", "--server", s.url, "hash-tree"}, 2, "KIND JSON"},
		{[]string{"submit", "--server", "http://127.0.0.1:1", "hash-tree", "{}"}, 1, "is \"lastcall serve\" running"},
		{[]string{"list", "--store", "sqlite:" + work + "/typo.db"}, 1, "no such file"},
		{[]string{"list", "--server", s.url, "--status", "done"}, 2, "use one of"},
		{[]string{"show", "--server", s.url, "0197c0de-0000-7000-8000-000000000000"}, 1, "not found"},
		{[]string{"lst"}, 2, "unknown command"},
	} {
		code, out := fails(t, c.args...)
		if code != c.code || !bytes.Contains(out, []byte(c.text)) {
			t.Errorf("lastcall %q: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.text, out)
		}
		if bytes.Contains(out, []byte("secret")) {
			t.Errorf("lastcall %q prints the secret:\n%s", c.args, out)
		}
	}
	stop(s)
}

func TestSubmit_ATaskOfAKindThatNoServerKnowsStaysQueuedAndIsShownAsSuch(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "tasks.db")
	s := start(t, store)
	const want = `no running worker knows the kind "nothing"`
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var id, remark bytes.Buffer
	cmd := exec.CommandContext(ctx, program(t), "submit", "--server", s.url, "nothing", "{}")
	cmd.Stdout, cmd.Stderr = &id, &remark
	if err := cmd.Run(); err != nil || !strings.Contains(remark.String(), want) {
		t.Errorf("submit: %v, it remarked %q", err, &remark)
	}
	for _, place := range [][]string{{"--server", s.url}, {"--store", store}} {
		story := command(t, append([]string{"show", strings.TrimSpace(id.String())}, place...)...)
		if !bytes.Contains(story, []byte("status   queued")) || !bytes.Contains(story, []byte("waits    "+want)) {
			t.Errorf("show %v:\n%s", place, story)
		}
		if _, list, ok := try(t, append([]string{"list"}, place...)...); !ok || !bytes.Contains(list, []byte("  queued  ")) || !bytes.Contains(list, []byte("1 of these wait: "+want)) {
			t.Errorf("list %v:\n%s", place, list)
		}
	}
	stop(s)
}

func TestSubmit_ATaskSubmittedIntoTheStoreIsFoundByAServerAndItsStoryCanBeRead(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	store := "sqlite:" + filepath.Join(work, "tasks.db")
	payload := fmt.Sprintf(`{"dir": %q, "out": %q}`, filepath.Join(source(t), "sort"), filepath.Join(work, "out"))
	id := strings.TrimSpace(string(command(t, "submit", "--store", store, "hash-tree", payload)))
	if out := command(t, "list", "--store", store); !bytes.Contains(out, []byte(id+"  hash-tree  queued")) {
		t.Errorf("list:\n%s", out)
	}
	s := start(t, store)
	s.reaches(id, "succeeded")
	again := command(t, "submit", "--store", store, "--id", id, "hash-tree", payload)
	if strings.TrimSpace(string(again)) != id {
		t.Errorf("submitted again: %s", again)
	}
	second := strings.TrimSpace(string(command(t, "submit", "--store", store, "hash-tree", payload)))
	if r := s.reaches(second, "succeeded"); r.Runs != 1 {
		t.Errorf("%d runs", r.Runs)
	}
	story := command(t, "show", "--server", s.url, id)
	for _, want := range []string{"status   succeeded since", "counts   1 runs, 0 attempts, 0 interruptions, 0 crashes", "pid " + fmt.Sprint(s.cmd.Process.Pid)} {
		if !bytes.Contains(story, []byte(want)) {
			t.Errorf("show lacks %q:\n%s", want, story)
		}
	}
	stop(s)
}
