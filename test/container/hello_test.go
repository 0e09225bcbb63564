package container

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/internal/freeport"
)

// The example runs as in its manifest: with its environment, and stopped like in a rollout.
func TestHello_AsADeploymentEndsWithItsWorkDone(t *testing.T) {
	im := readContainerfile(t, manifests+"/hello/Containerfile")
	if im.from != "scratch" || im.user != "65532:65532" || len(im.entry) != 1 || im.stop != "SIGTERM" {
		t.Fatalf("from %s, user %s, entry %q, stop signal %s", im.from, im.user, im.entry, im.stop)
	}
	made := kustomize(t, "hello", "20")
	c, service := made.deployments[0].Spec.Template.Spec.Containers[0], made.services[0]
	if target := service.Spec.Ports[0].TargetPort.StrVal; target != c.Ports[0].Name || c.ReadinessProbe.TCPSocket.Port.StrVal != target {
		t.Fatalf("the Service leads to port %q, the probe to %q, and the container has %+v", target, c.ReadinessProbe.TCPSocket.Port.StrVal, c.Ports)
	}
	address := freeport.Address(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(im.make(t), im.entry[0]))
	_, port, _ := strings.Cut(address, ":")
	cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=127.0.0.1", "PORT="+port)
	for _, e := range c.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	said := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// No thumbnail.
	until(t, "it answers", func() bool { return statusOf(address, "/favicon.ico") == http.StatusNotFound })
	for _, when := range []string{"running", "told to stop"} {
		if code := statusOf(address, "/"); code != http.StatusOK {
			t.Errorf("%s: /: %d", when, code)
		}
		if when == "running" {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	_, left, _ := strings.Cut(said.String(), "left=")
	left, _, _ = strings.Cut(left, "\n")
	toInterrupt, err := time.ParseDuration(left)
	if err != nil || toInterrupt > 17100*time.Millisecond || toInterrupt < 16*time.Second {
		t.Errorf("%v (%v) until the interrupt, want 17.1 s, or little less:\n%s", toInterrupt, err, said)
	}
	if n := strings.Count(said.String(), "thumbnail done"); n != 2 {
		t.Errorf("%d thumbnails are done, want both:\n%s", n, said)
	}
}

// statusOf requests a path and returns the status of the answer, or 0 if there is none.
func statusOf(address, path string) int {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + address + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close() // nothing was read
	return resp.StatusCode
}
