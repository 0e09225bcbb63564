package proc

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestProcesses_ALineOfStatIsReadWhateverTheNameOfTheProgram(t *testing.T) {
	t.Parallel()
	rest := " S 17 18 19 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 2 3 4"
	for _, name := range []string{"sh", "a b", ") Z 1 2", "new\nline", "\xff"} {
		got, err := parseStat(5, []byte("5 ("+name+")"+rest))
		if want := (Process{PID: 5, Parent: 17, Group: 18, Session: 19, State: 'S', Born: 4711}); err != nil || got != want {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	for _, line := range []string{"", "5 (sh", "5 (sh) S 1 2 3", "5 (sh) S x" + rest[5:]} {
		if _, err := parseStat(5, []byte(line)); err == nil || !strings.Contains(err.Error(), "/proc/5/stat") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestProcesses_DescendantsAreFoundWithTheirParentsBeforeThem(t *testing.T) {
	t.Parallel()
	a := play(t, "tree", "sh -c 'sh -c \"echo deepest \\$\\$; sleep 1000; :\"; :'", nil)
	deepest := a.numbers("deepest")["deepest"]
	all, err := Descendants(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{os.Getpid(): true}
	for _, p := range all {
		if !seen[p.Parent] {
			t.Errorf("%+v comes before its parent", p)
		}
		seen[p.PID] = true
	}
	if !seen[deepest] {
		t.Errorf("%d is missing in %+v", deepest, all)
	}
	children, err := Children(a.cmd.Process.Pid)
	if err != nil || len(children) != 1 || children[0].Parent != a.cmd.Process.Pid {
		t.Errorf("%+v, %v", children, err)
	}
	a.tell("kill")
	a.says("gone")
}

func TestProcesses_AProcessThatHasTheNumberOfAnotherOneIsNotSignalled(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := look(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	old := p
	old.Born--
	if err := old.Signal(syscall.SIGKILL); err != nil || !Alive(p.PID) {
		t.Errorf("%v, alive %v", err, Alive(p.PID))
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
	if err := p.Signal(syscall.SIGKILL); err != nil || Alive(p.PID) {
		t.Errorf("when it is gone: %v, alive %v", err, Alive(p.PID))
	}
}

// A program that used the PIDs of another namespace would kill unrelated processes.
func TestProcesses_TheProcOfAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	}
	probe := exec.CommandContext(t.Context(), "true")
	probe.SysProcAttr = attr
	if err := probe.Run(); err != nil {
		t.Skipf("PID namespaces: run as root, or allow unprivileged user namespaces (%v)", err)
	}
	if got := play(t, "list", "", attr).says("said:"); !strings.Contains(got, "mount the /proc of this PID namespace") {
		t.Errorf("said %q", got)
	}
}

func TestAlive_SeesAProcessWhoseParentHasDiedSinceItWasRead(t *testing.T) {
	for name, c := range map[string]struct {
		all  []Process
		want []int
	}{
		"the root lives":         {[]Process{{PID: 10, State: 'S'}, {PID: 11, Parent: 10, State: 'R'}}, []int{11, 10}},
		"the root is a zombie":   {[]Process{{PID: 11, Parent: 10, State: 'R'}, {PID: 10, State: 'Z'}}, []int{11}},
		"the root is gone":       {[]Process{{PID: 12, Parent: 11, State: 'R'}, {PID: 11, Parent: 10, State: 'Z'}, {PID: 20, State: 'R'}}, []int{12}},
		"all of it have ended":   {[]Process{{PID: 10, State: 'Z'}, {PID: 11, Parent: 10, State: 'X'}}, nil},
		"there are others alone": {[]Process{{PID: 20, State: 'R'}}, nil},
	} {
		var got []int
		for _, p := range alive(c.all, 10) {
			got = append(got, p.PID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
