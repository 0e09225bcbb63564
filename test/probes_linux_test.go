package test

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// body requests a path and returns the body of the answer, or "" if there is none.
func (s *server) body(path string) string {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(text)
}

func TestServe_ProbesAnswerUntilTheEndAndTheInterfaceWhileTasksRun(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t, map[string]string{"slow": `trap "" TERM; until [ -e go ]; do sleep 0.05; done`}, "    concurrency: 1\n")
	s := w.start("--grace", "60s", "--probe-listen", "127.0.0.1:0")
	_, address, _ := strings.Cut(s.waitLog("msg=probes"), "address=")
	platform := &server{process: s.process, url: "http://" + address}
	asks := func(when, phase string) {
		t.Helper()
		for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/metrics": http.StatusOK} {
			if got := platform.status(path); got != want {
				t.Errorf("%s: %s answers %d, want %d", when, path, got, want)
			}
		}
		if text := platform.body("/metrics"); !strings.Contains(text, `lastcall_stop_phase{phase="`+phase+`"} 1`) {
			t.Errorf("%s: the metrics do not have the phase %s", when, phase)
		}
	}
	running := submitTo(s, "slow", "{}")
	s.reaches(running, "running")

	s.signal(syscall.SIGTERM)
	s.waitLog("msg=stop phase=drain")
	asks("in the drain", "drain")
	later := submitTo(s, "slow", "{}") // for the next server
	s.signal(syscall.SIGTERM)
	s.waitLog("msg=stop phase=interrupt")
	asks("after the interrupt", "interrupt")
	if got := s.status("/healthz"); got != 0 {
		t.Errorf("after the interrupt the interface answers %d", got)
	}
	w.write("go", "", 0o600)
	s.exits(0)

	next := w.start()
	next.reaches(running, "succeeded")
	next.reaches(later, "succeeded")
	stop(next)
}
