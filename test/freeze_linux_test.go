package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// stand stops a process in the same way as [halt].
func (p *process) stand() {
	p.t.Helper()
	halt(p.t, p.pid())
}

// halt sends SIGSTOP to a process, and returns when the kernel reports every thread as stopped. A
// thread in the middle of a system call finishes the call first, and may acquire a lock by it. A
// thread that has not received the signal yet continues.
func halt(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatalf("SIGSTOP to %d: %v", pid, err)
	}
	if !poll(func() bool { return stands(t, pid) }) {
		t.Fatalf("process %d does not stand after %v", pid, patience)
	}
}

// stands reports whether all threads of a process are stopped.
func stands(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	stand := 0
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			return false // it has ended meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		// pid (name) state ...
		if _, state, _ := bytes.Cut(stat, []byte(") ")); bytes.HasPrefix(state, []byte("T")) {
			stand++
		}
	}
	return stand > 0 && stand == len(threads)
}

// writes reports whether a stopped process is inside a write transaction of a SQLite file. The
// kernel lists which process holds the byte of that lock.
func (f *fixture) writes(p *process, file string) bool {
	f.t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(file+"-shm", &st); err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(read(f.t, "/proc/locks"))) {
		// 1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120
		f := strings.Fields(line)
		if len(f) == 8 && f[3] == "WRITE" && f[4] == strconv.Itoa(p.pid()) && f[6] == "120" &&
			strings.HasSuffix(f[5], ":"+strconv.FormatUint(st.Ino, 10)) {
			return true
		}
	}
	return false
}

// outside reports whether a stopped process prevents no other process from writing. PostgreSQL
// receives statements that are whole transactions, and completes them whatever happens to the
// client.
func (f *fixture) outside(p *process) bool {
	path, ok := strings.CutPrefix(f.address, "sqlite:")
	return !ok || !f.writes(p, path) && !f.writes(p, path+"-effects")
}

// freeze stops a process at a moment for which fit returns true. Otherwise it lets the process
// continue for a random time and tries again.
func (f *fixture) freeze(p *process, fit func() bool) {
	f.t.Helper()
	p.until("stopped at such a moment", func() bool {
		p.stand()
		if fit() {
			return true
		}
		p.signal(syscall.SIGCONT)
		f.moment(5*time.Millisecond, p)
		return false
	})
}

func TestFreeze_AProcessThatStoodStillLosesItsTasksAndItsLateWritesAreRefused(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		const each = 20
		f := newFixture(t, store)
		j := job{Grace: patient, Slots: each, Lease: 2 * time.Second}
		// One process after the other claims the tasks, is stopped, and finds that the next one has them.
		p := f.start(j)
		for n := 0; n < f.points; n += each {
			gate := filepath.Join(t.TempDir(), "gate"+strconv.Itoa(n))
			f.enqueue(stale, each, func() work {
				w := f.work()
				w.Gate = gate
				return w
			})
			p.waitLines("runs=1 was=queued", each)
			next := f.start(j)
			f.until("two workers", func() bool { return len(f.workers()) == 2 })
			f.moment(500*time.Millisecond, p)
			f.freeze(p, func() bool { return f.outside(p) })
			f.fates[p.pid()], f.heirs[p.pid()] = fate{"frozen", expired}, next.pid()
			next.waitLines("holds task=", each)
			f.moment(300*time.Millisecond, next)
			p.signal(syscall.SIGCONT)
			f.late(p, each)
			f.drain(p)
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			f.until("all tasks ended", func() bool { return f.unfinished() == 0 })
			p = next
		}
		f.finish(p)
	})
}

// late waits until all runs of a process that was stopped have learned that they are lost, and
// checks that their late writes were refused.
func (f *fixture) late(p *process, n int) {
	f.t.Helper()
	for _, line := range p.waitLines("late task=", n) {
		if !strings.Contains(line, " fate=true,true,true ") {
			f.t.Errorf("a late write was not refused, or the context has another cause:\n%s", line)
		}
	}
	lost := p.waitLines("task lost: what it did in the end came too late", n)
	if len(lost) != n {
		f.t.Errorf("%d tasks are lost, want %d", len(lost), n)
	}
}

func TestFreeze_AProcessThatStandsInsideAWriteOfSQLiteIsNamedToTheOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "tasks.db"))
	f.points = 0 // there is no interruption
	j := job{Grace: patient, Slots: 20, Lease: 10 * time.Second}
	writer := f.start(j)
	f.enqueue(steps, j.Slots, func() work { return work{Steps: 40, Pace: time.Millisecond} })
	writer.waitLines("task running", j.Slots)
	other := f.start(j)
	f.until("two workers", func() bool { return len(f.workers()) == 2 })

	f.freeze(writer, func() bool { return f.writes(writer, strings.TrimPrefix(f.address, "sqlite:")) })
	named := fmt.Sprintf("process %d has been writing for five seconds: is it stopped? continue it (kill -CONT %d) or kill it", writer.pid(), writer.pid())
	id := "00000000-0000-7000-8000-00000000c0de"
	_, err := steps.Enqueue(t.Context(), f.client, work{Steps: 1}, &task.EnqueueOptions{ID: id})
	if err == nil || !strings.Contains(err.Error(), named) {
		t.Errorf("Enqueue: %v, want %q", err, named)
	}
	if line := other.waitLog(named); !strings.Contains(line, `level=ERROR msg="cannot renew the lease; trying again"`) {
		t.Errorf("the other process logs %s", line)
	}

	writer.signal(syscall.SIGCONT)
	got, err := steps.Enqueue(t.Context(), f.client, work{Steps: 1}, &task.EnqueueOptions{ID: id})
	if err != nil || got.ID != id {
		t.Fatalf("%+v, %v", got, err)
	}
	f.accepted[id] = true
	f.until("all tasks ended", func() bool { return f.unfinished() == 0 })
	f.drain(writer)
	f.finish(other)
	if slices.ContainsFunc(f.histories, func(h []task.RunRecord) bool { return len(h) != 1 }) {
		t.Error("a task ran more than once")
	}
}
