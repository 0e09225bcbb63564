package execkind

import (
	"encoding/gob"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/confine"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
)

// limited creates a fixture whose kind has limits.
func limited(t *testing.T, l confine.Limits, script string) *fixture {
	t.Helper()
	f := newFixture(t, script)
	f.kind.Limits = l
	var err error
	if f.cgroups, err = confine.FindCgroups(l); err != nil {
		t.Skipf("control groups: run as root, with the controllers mounted or delegated (%v)", err)
	}
	return f
}

// groupsOf lists the groups that a program says it is in, as directories below any mount.
func groupsOf(t *testing.T, output string) []string {
	t.Helper()
	names := regexp.MustCompile(`/lastcall-run-\S+`).FindAllString(output, -1)
	if len(names) == 0 {
		t.Fatalf("no group in %s", output)
	}
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*", "/sys/fs/cgroup/*/*/*"} {
		found, err := filepath.Glob(pattern + names[0])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func TestLimits_AProgramStartsInAGroupThatIsGoneAfterTheRun(t *testing.T) {
	l := confine.Limits{Memory: 64 << 20, CPU: 500, PIDs: 20}
	for _, isolation := range []confine.Isolation{confine.Shared, confine.Possible()} {
		f := limited(t, l, `cat /proc/self/cgroup; echo > ready; until [ -e go ]; do sleep 0.02; done`)
		f.isolation = isolation
		id := f.enqueue("{}")
		f.serve(time.Minute)
		f.prints("ready")
		groups := groupsOf(t, f.reaches(id, "in its groups", func(task.Task) bool { return strings.Contains(f.output(id), "lastcall-run-") }).ID+f.output(id))
		for _, controller := range []string{"memory", "cpu", "pids"} {
			if !regexp.MustCompile(`(?m)^\d+:(.*,)?` + controller + `(,.*)?:.*/lastcall-run-|^0::.*/lastcall-run-`).MatchString(f.output(id)) {
				t.Errorf("not limited in %s: %s", controller, f.output(id))
			}
		}
		wanted := map[string]string{"memory.limit_in_bytes": "67108864", "memory.max": "67108864", "memory.swap.max": "0", "cpu.cfs_quota_us": "50000",
			"cpu.max": "50000 100000", "pids.max": "20"}
		found := 0
		for _, group := range groups {
			for name, value := range wanted {
				b, err := os.ReadFile(filepath.Join(group, name))
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				if found++; err != nil || strings.TrimSpace(string(b)) != value {
					t.Errorf("%s of %s: %q, %v, want %s", name, group, b, err, value)
				}
			}
		}
		if found < 3 {
			t.Errorf("only %d files in %q", found, groups)
		}
		if err := os.WriteFile(filepath.Join(f.dir, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 0, "")
		f.stop()
		noGroups(t, groups)
	}
}

func noGroups(t *testing.T, groups []string) {
	t.Helper()
	for _, g := range groups {
		if _, err := os.Stat(g); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", g, err)
		}
	}
}

func TestLimits_WhoNeedsMoreMemoryIsKilledAndTheErrorSaysSo(t *testing.T) {
	const said = "its limit of memory (32Mi) was reached, and 1 of its processes killed for it"
	// tail keeps the whole endless line in memory.
	f := limited(t, confine.Limits{Memory: 32 << 20}, `exec tail /dev/zero`)
	f.kind.MaxCrashes = 1
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusFailed, "", 0, 0, 1, "ended by signal 9 (killed): "+said)
	f.stop()

	f = limited(t, confine.Limits{Memory: 32 << 20}, `tail /dev/zero; exit 3`)
	id = f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusFailed, "", 1, 0, 0, "exit code 3: "+said)
	f.stop()

	f = limited(t, confine.Limits{Memory: 32 << 20}, `tail /dev/zero; exit $?`)
	id = f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusFailed, "", 1, 0, 0, "exit code 137: "+said)
	f.stop()
}

func TestLimits_AProgramThatWasKilledByOthersIsNotBlamedOnItsMemory(t *testing.T) {
	f := limited(t, confine.Limits{Memory: 64 << 20}, `kill -KILL $$`)
	f.kind.MaxCrashes = 1
	id := f.enqueue("{}")
	f.serve(time.Minute)
	want(t, f.ends(id), task.StatusFailed, "", 0, 0, 1, "ended by signal 9 (killed), which was not lastcall's")
	f.stop()
}

func TestLimits_NoMoreProcessesThanAllowedAreThereAtOnce(t *testing.T) {
	f := limited(t, confine.Limits{PIDs: 10}, `
		for i in $(seq 40); do sleep 1000 & echo $i; done > started 2> refused || :
		wc -l < started; [ -s refused ] && echo refused`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	f.ends(id)
	b, err := os.ReadFile(filepath.Join(f.dir, "started"))
	refused, err2 := os.ReadFile(filepath.Join(f.dir, "refused"))
	if n := strings.Count(string(b), "\n"); err != nil || err2 != nil || n < 5 || n > 9 || len(refused) == 0 {
		t.Errorf("%d were started, refused: %s, %v, %v", n, refused, err, err2)
	}
	f.stop()
}

func TestLimits_TheGroupOfAKilledShimIsRemoved(t *testing.T) {
	if err := proc.BecomeSubreaper(); err != nil { // as lastcall serve does
		t.Fatal(err)
	}
	f := limited(t, confine.Limits{PIDs: 20}, `[ "$LASTCALL_RUN" = 2 ] || { cat /proc/self/cgroup > in; echo $PPID > shim; while :; do sleep 1000; done; }`)
	id := f.enqueue("{}")
	f.serve(time.Minute)
	shim, err := strconv.Atoi(f.prints("shim"))
	if err != nil {
		t.Fatal(err)
	}
	groups := groupsOf(t, f.prints("in"))
	if len(groups) == 0 {
		t.Fatal("no group")
	}
	p, err := os.FindProcess(shim)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	want(t, f.ends(id), task.StatusSucceeded, "", 0, 0, 1, "")
	f.stop()
	noGroups(t, groups)
}

func TestLimits_TheShimRemovesTheGroupWhenTheServerIsGone(t *testing.T) {
	l := confine.Limits{PIDs: 20}
	groups, err := confine.FindCgroups(l)
	if err != nil {
		t.Skipf("control groups: run as root, with the controllers mounted or delegated (%v)", err)
	}
	group, err := groups.Make("test", l)
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	st := start{Path: "/bin/sh", Argv: []string{"sh", "-c", "echo > ready; while :; do sleep 1000; done"}, Dir: scratch,
		Env: []string{"PATH=" + os.Getenv("PATH")}, Scratch: filepath.Join(scratch, "none"), Confined: confine.Program{Cgroup: group}}
	orders, reports, wait := bareWith(t, st)
	var r report
	for decoder := gob.NewDecoder(reports); r.Started == 0; {
		if err := decoder.Decode(&r); err != nil || r.Failed != "" {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if err := closeAll(orders, reports); err != nil {
		t.Fatal(err)
	}
	wait()
	noGroups(t, group.Dirs)
}
