package proc

import (
	"os/exec"
	"testing"
	"time"
)

func TestTree_TheExitOfTheProgramIsToldWhateverItsDescendantsDo(t *testing.T) {
	t.Parallel()
	a := play(t, "tree", "(exit 7) & setsid sh -c 'exit 8' & sleep 1000 & wait %1; exit 3", nil)
	if got := a.says("exited"); got != "3 0 false" {
		t.Errorf("exited %s", got)
	}
	a.tell("kill") // the sleep
	a.says("gone")
}

func TestTree_AProgramThatASignalEndedIsToldApart(t *testing.T) {
	t.Parallel()
	a := play(t, "tree", "kill -9 $$", nil)
	if got := a.says("exited"); got != "-1 9 false" {
		t.Errorf("exited %s", got)
	}
	a.says("gone")
}

func TestTree_ASignalGoesToTheWholeGroup(t *testing.T) {
	t.Parallel()
	// The shell sets its trap before it starts the child. It catches the signal and does not ignore
	// it, since a child cannot catch a signal that was ignored when it started.
	a := play(t, "tree", "trap : TERM; sh -c 'trap \"exit 5\" TERM; echo child ready; while :; do sleep 0.01; done' & wait; wait $!; exit $?", nil)
	a.says("child ready")
	a.tell("term")
	if got := a.says("exited"); got != "5 0 false" {
		t.Errorf("exited %s", got)
	}
	a.says("gone")
}

func TestTree_ASignalAfterTheEndIsNoError(t *testing.T) {
	t.Parallel()
	a := play(t, "tree", "sleep 1000 & exit 0", nil)
	a.says("exited")
	a.tell("term")
	if got := a.says("did term"); got != "<nil>" {
		t.Errorf("signal after the end: %s", got)
	}
	a.tell("kill")
	a.says("gone")
}

func TestTree_KillReachesEveryDescendantHoweverItHasForkedAway(t *testing.T) {
	t.Parallel()
	// A textbook daemon, with two forks and a session of its own, whose parent is gone; and a process
	// that has left its session, its directory and its input.
	a := play(t, "tree", `
		trap '' TERM
		setsid sh -c 'sh -c "trap \"\" TERM HUP; echo daemon \$\$; while :; do sleep 1000; done" &'
		setsid setsid setsid sh -c 'cd /; exec </dev/null; echo exile $$; while :; do sleep 1000; done' &
		echo own $$; while :; do sleep 1000; done`, nil)
	pids := a.numbers("daemon", "exile", "own")
	a.tell("kill")
	if got := a.says("exited"); got != "-1 9 true" {
		t.Errorf("exited %s", got)
	}
	a.says("gone")
	for name, pid := range pids {
		if Alive(pid) {
			t.Errorf("%s (%d) lives", name, pid)
		}
	}
}

func TestTree_KillCatchesUpWithAProgramThatForksAllTheTime(t *testing.T) {
	t.Parallel()
	a := play(t, "tree", `
		f() { echo busy; while :; do (sleep 0.01 &) ; done; }
		f & f & f & wait`, nil)
	a.says("busy")
	a.tell("kill")
	a.says("gone")
}

// Each process of the chain lives for some microseconds, in a session of its own.
func TestTree_KillCatchesUpWithAChainOfProcessesThatLeaveEachOther(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("perl is missing: make setup installs it")
	}
	a := play(t, "tree", `exec prlimit --nproc=500 perl -MPOSIX -e '$| = 1; for (1..3) { last if !fork } while (1) { exit if fork; POSIX::setsid(); print "busy\n" if ++$n == 200 }'`, nil)
	a.says("busy")
	began := time.Now()
	a.tell("kill")
	a.says("gone")
	t.Logf("gone after %v", time.Since(began))
}
