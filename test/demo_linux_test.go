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
	var pids []int
	for _, found := range regexp.MustCompile(`\(pid (\d+)\) works`).FindAllStringSubmatch(p.text(), -1) {
		pid, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 2 || !alive(pids[0]) || !alive(pids[1]) {
		t.Fatalf("the servers are %d:\n%s", pids, p.text())
	}
	p.signal(syscall.SIGKILL)
	p.exit()
	p.until("without servers", func() bool { return !alive(pids...) })
}
