package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// pod describes a container. The rest is as in the manifests: an unprivileged user, a read-only
// root, no capabilities, and the seccomp profile of the runtime.
type pod struct {
	args   []string
	env    map[string]string
	mounts map[string]string // path in the container to path on this machine
	user   int64             // 0 means 65532
	memory int64             // limit in bytes, 0 means none
}

// container is a running container in a pod of its own.
type container struct {
	t       *testing.T
	r       *runtime
	sandbox string
	id      string
	log     string
}

var pods atomic.Int64

// run starts a container as the kubelet does. It is removed when the test ends.
func (r *runtime) run(t *testing.T, p pod) *container {
	t.Helper()
	if p.user == 0 {
		p.user = 65532
	}
	name := fmt.Sprintf("pod-%d", pods.Add(1))
	logs := t.TempDir()
	restricted := &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
	network := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER}
	sandbox := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Uid: name, Namespace: "test"},
		LogDirectory: logs,
		Linux: &cri.LinuxPodSandboxConfig{
			SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: network, ReadonlyRootfs: true,
				Seccomp: restricted},
		},
	}
	made, err := r.client.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: sandbox})
	if err != nil {
		t.Fatalf("RunPodSandbox: %v\n%s", err, r.said())
	}
	c := &container{t: t, r: r, sandbox: made.PodSandboxId, log: filepath.Join(logs, "log")}
	t.Cleanup(c.remove)
	created, err := r.client.CreateContainer(t.Context(), &cri.CreateContainerRequest{
		PodSandboxId: c.sandbox, SandboxConfig: sandbox, Config: p.config(t, network, restricted),
	})
	if err != nil {
		t.Fatalf("CreateContainer: %v\n%s", err, r.said())
	}
	c.id = created.ContainerId
	if _, err := r.client.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: c.id}); err != nil {
		t.Fatalf("StartContainer: %v\n%s", err, r.said())
	}
	return c
}

func (p pod) config(t *testing.T, network *cri.NamespaceOption, seccomp *cri.SecurityProfile) *cri.ContainerConfig {
	t.Helper()
	c := &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "lastcall"},
		Image:    &cri.ImageSpec{Image: programImage},
		Args:     p.args,
		LogPath:  "log",
		Linux: &cri.LinuxContainerConfig{
			Resources: &cri.LinuxContainerResources{MemoryLimitInBytes: p.memory},
			SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: network, Seccomp: seccomp, ReadonlyRootfs: true, NoNewPrivs: true,
				RunAsUser: &cri.Int64Value{Value: p.user}, RunAsGroup: &cri.Int64Value{Value: p.user},
				Capabilities: &cri.Capability{DropCapabilities: []string{"ALL"}},
			},
		},
	}
	for name, value := range p.env {
		c.Envs = append(c.Envs, &cri.KeyValue{Key: name, Value: []byte(value)})
	}
	tmp := t.TempDir()
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	c.Mounts = append(c.Mounts, &cri.Mount{ContainerPath: "/tmp", HostPath: tmp})
	for inside, outside := range p.mounts {
		c.Mounts = append(c.Mounts, &cri.Mount{ContainerPath: inside, HostPath: outside})
	}
	return c
}

func (c *container) status() *cri.ContainerStatus {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), patience)
	defer cancel()
	got, err := c.r.client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: c.id})
	if err != nil {
		c.t.Fatalf("ContainerStatus: %v\n%s", err, c.r.said())
	}
	return got.Status
}

// exited waits until the container has ended.
func (c *container) exited() *cri.ContainerStatus {
	c.t.Helper()
	var s *cri.ContainerStatus
	until(c.t, "the container has ended", func() bool {
		s = c.status()
		return s.State == cri.ContainerState_CONTAINER_EXITED
	})
	return s
}

// exits checks how the container ended.
func (c *container) exits(code int32, reason string) *cri.ContainerStatus {
	c.t.Helper()
	s := c.exited()
	if s.ExitCode != code || s.Reason != reason {
		c.t.Errorf("the container ended with %d %s, want %d %s:\n%s", s.ExitCode, s.Reason, code, reason, c.text())
	}
	return s
}

// minimum is the least number of seconds that a container gets from SIGTERM to SIGKILL
// (minimumGracePeriodInSeconds in the kubelet).
const minimum = 2

// terminate stops the container as the kubelet does. It runs the preStop hook, sends SIGTERM when
// the hook has ended or the grace is over, and sends SIGKILL at the end of the grace, from which
// the whole seconds of the hook are subtracted, but at least two seconds after SIGTERM. It returns
// the time at which the hook was done, and the hook's error.
func (c *container) terminate(grace int64, preStop ...string) (termed time.Time, hook error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), patience)
	defer cancel()
	began := time.Now()
	if len(preStop) > 0 {
		var got *cri.ExecSyncResponse
		got, hook = c.r.client.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: c.id, Cmd: preStop, Timeout: grace})
		if hook == nil && got.ExitCode != 0 {
			hook = fmt.Errorf("exit code %d: %s", got.ExitCode, got.Stderr)
		}
	}
	termed = time.Now()
	left := max(grace-int64(termed.Sub(began)/time.Second), minimum)
	if _, err := c.r.client.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: c.id, Timeout: left}); err != nil {
		c.t.Errorf("StopContainer: %v\n%s", err, c.r.said())
	}
	return termed, hook
}

// remove removes what is left of the pod.
func (c *container) remove() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), patience)
	defer cancel()
	if _, err := c.r.client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: c.sandbox}); err != nil {
		c.t.Errorf("StopPodSandbox: %v", err)
	}
	if _, err := c.r.client.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: c.sandbox}); err != nil &&
		status.Code(err) != codes.NotFound {
		c.t.Errorf("RemovePodSandbox: %v", err)
	}
	if c.t.Failed() {
		c.t.Logf("the container's log:\n%s", c.text())
	}
}

// text returns what the container has written.
func (c *container) text() string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// says waits until the container has written a text.
func (c *container) says(what string) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("the log has %q", what), func() bool {
		if strings.Contains(c.text(), what) {
			return true
		}
		if s := c.status(); s.State == cri.ContainerState_CONTAINER_EXITED {
			c.t.Fatalf("the container ended with %d %s before its log had %q:\n%s", s.ExitCode, s.Reason, what, c.text())
		}
		return false
	})
}

// exec runs a command in the container, which must succeed, and returns its output.
func (c *container) exec(args ...string) string {
	c.t.Helper()
	got, err := c.r.client.ExecSync(c.t.Context(), &cri.ExecSyncRequest{ContainerId: c.id, Cmd: args, Timeout: 30})
	if err != nil {
		c.t.Fatalf("ExecSync %q: %v", args, err)
	}
	if got.ExitCode != 0 {
		c.t.Fatalf("%q in the container: exit code %d\n%s", args, got.ExitCode, got.Stderr)
	}
	return string(got.Stdout)
}

// pid returns the id of the container's first process on this machine.
func (c *container) pid() int {
	c.t.Helper()
	got, err := c.r.client.ContainerStatus(c.t.Context(), &cri.ContainerStatusRequest{ContainerId: c.id, Verbose: true})
	if err != nil {
		c.t.Fatal(err)
	}
	var pid int
	_, rest, _ := strings.Cut(got.Info["info"], `"pid":`)
	if n, err := fmt.Sscanf(rest, "%d", &pid); n != 1 || err != nil || pid < 2 {
		c.t.Fatalf("no pid in %q: %v", got.Info["info"], err)
	}
	return pid
}
