package container

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const unit = repository + "/deploy/systemd/lastcall.service"

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// settingsOf parses a unit into a map from section.key to value. Ours has no key twice, except the
// system call filter, whose second line removes calls from the first.
func settingsOf(t *testing.T, text string) map[string]string {
	t.Helper()
	all, section := map[string]string{}, ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		key, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = strings.Trim(line, "[]")
		case !ok:
			t.Fatalf("%q is no setting", line)
		default:
			if _, twice := all[section+"."+key]; twice && key != "SystemCallFilter" {
				t.Errorf("%s is set twice", key)
			}
			all[section+"."+key] = value
		}
	}
	return all
}

func TestUnit_GivesTheProgramItsGrace(t *testing.T) {
	s := settingsOf(t, read(t, unit))
	stop, err := time.ParseDuration(s["Service.TimeoutStopSec"])
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(s["Service.Environment"], "LASTCALL_GRACE=")
	grace, err := time.ParseDuration(text)
	if err != nil || !ok {
		t.Fatalf("Environment=%s: %v", s["Service.Environment"], err)
	}
	if grace != stop-time.Second {
		t.Errorf("the program's grace is %v and systemd's %v: want a second between them", grace, stop)
	}
	for key, want := range map[string]string{"Type": "notify", "KillMode": "mixed", "NoNewPrivileges": "yes",
		"ProtectSystem": "strict", "StateDirectory": "lastcall"} {
		if got := s["Service."+key]; got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
}

func TestUnit_SystemdUnderstandsTheUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: run make setup")
	}
	// systemd-analyze verify requires the program to exist.
	text := strings.Replace(read(t, unit), "ExecStart=/usr/local/bin/lastcall", "ExecStart=/bin/true", 1)
	if out, err := verify(t, text); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	if out, _ := verify(t, text+"\n[Service]\nTimeoutStopsSec=1\n"); !strings.Contains(out, "TimeoutStopsSec") {
		t.Errorf("systemd-analyze does not complain about an unknown key, so it proves nothing: %s", out)
	}
}

func TestUnit_LeavesTheServiceLittleThatItDoesNotNeed(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: run make setup")
	}
	rate := func(text string) (string, error) {
		path := filepath.Join(t.TempDir(), "lastcall.service")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// The threshold is in tenths of the printed exposure, which goes from 0 (nothing is exposed) to
		// 10.
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "--no-pager",
			"--threshold=15", path).CombinedOutput()
		return string(out), err
	}
	text := read(t, unit)
	if out, err := rate(text); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	for _, setting := range []string{"PrivateUsers=yes", "ProtectProc=invisible", "MemoryDenyWriteExecute=yes",
		"RemoveIPC=yes", "SystemCallFilter=~@privileged"} {
		if !strings.Contains(text, "\n"+setting+"\n") {
			t.Errorf("the unit lacks %s", setting)
		}
	}
	if out, err := rate(strings.Replace(text, "CapabilityBoundingSet=\n", "", 1)); err == nil {
		t.Errorf("systemd-analyze does not mind every capability, so it proves nothing: %s", out)
	}
}

func verify(t *testing.T, text string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lastcall.service")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--recursive-errors=no", "--man=no",
		path).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
