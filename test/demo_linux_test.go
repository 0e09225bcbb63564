package test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
)

func TestDemo_TheServersOfADemonstrationThatIsKilledStop(t *testing.T) {
	t.Parallel()
	p := begin(t, exec.Command(program(t), "demo", "--tree", demoTree(t), "--dir", filepath.Join(t.TempDir(), "demo"),
		"--workers", "2", "--roll", "--at-least", "30s", "--concurrency", "1"))
	p.waitLog("server 2 (pid ")
	if pids := demoServers(t, p); !alive(pids...) {
		t.Fatalf("none of the servers %d runs:\n%s", pids, p.text())
	}
	p.signal(syscall.SIGKILL)
	p.exit()
	// It may have started the first replacements meanwhile.
	p.until("without servers", func() bool { return !alive(demoServers(t, p)...) })
}

// demoServers returns the process ids of the servers that a demonstration says it has started.
func demoServers(t *testing.T, p *process) (pids []int) {
	t.Helper()
	for _, found := range regexp.MustCompile(`\(pid (\d+)\) works`).FindAllStringSubmatch(p.text(), -1) {
		pid, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) < 2 {
		t.Fatalf("servers %d, want at least two:\n%s", pids, p.text())
	}
	return pids
}
