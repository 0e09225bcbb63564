package container

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/lastcall-go/lastcall/internal/execfile"
	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// patience bounds every wait for something that will happen.
const patience = time.Minute

// The images that the tests build.
const (
	programImage = "lastcall.test/lastcall:1"
	pauseImage   = "lastcall.test/pause:1"
)

// settings configure a containerd that does not affect any other: its own directories and socket,
// no network plug-ins, and a full copy of the image for each container, which works on every file
// system.
const settings = `version = 2
root = %[1]q
state = %[2]q
[grpc]
  address = %[3]q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[4]q
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[5]q
    conf_dir = %[5]q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.internal.v1.opt"]
  path = %[5]q
`

// runtime is a running containerd.
type runtime struct {
	dir    string
	client cri.RuntimeServiceClient
	helper string // a static program on this machine, to be mounted

	process *exec.Cmd
	conn    *grpc.ClientConn
	log     *os.File
}

// shared is the containerd that all tests of the binary use.
var shared struct {
	once sync.Once
	*runtime
	ready bool // the images have been imported
}

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if builtProgram != "" {
		_ = os.RemoveAll(builtProgram)
	}
	if shared.runtime != nil {
		if err := shared.close(); err != nil {
			fmt.Fprintln(os.Stderr, "containerd:", err)
			code = max(code, 1)
		}
	}
	if err := os.RemoveAll(programRoot.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// containerd returns the running containerd, with the images imported. Where it cannot run, the
// test is skipped with the reason.
func containerd(t *testing.T) *runtime {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("containers of a containerd of the test's own: run as root")
	}
	for _, name := range []string{"containerd", "ctr", "runc"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: run make setup", name)
		}
	}
	shared.once.Do(func() { startContainerd(t) })
	if !shared.ready {
		t.Fatal("containerd does not run: an earlier test says why")
	}
	return shared.runtime
}

func startContainerd(t *testing.T) {
	t.Helper()
	//nolint:usetesting // a socket's path must be short, and it outlives this test
	dir, err := os.MkdirTemp("/tmp", "lastcall-cri-")
	if err != nil {
		t.Fatal(err)
	}
	r := &runtime{dir: dir, helper: filepath.Join(dir, "helper")}
	if err := os.Chmod(dir, 0o711); err != nil { // the helper is mounted from here
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	config := fmt.Sprintf(settings, filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket, pauseImage,
		filepath.Join(dir, "none"))
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if r.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	r.process = exec.CommandContext(context.Background(), "containerd", "--config", filepath.Join(dir, "config.toml"))
	r.process.Stdout, r.process.Stderr = r.log, r.log
	if err := r.process.Start(); err != nil {
		t.Fatal(err)
	}
	shared.runtime = r // to be closed, whether the rest succeeds or not
	if r.conn, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	r.client = cri.NewRuntimeServiceClient(r.conn)
	until(t, "containerd answers", func() bool {
		_, err := r.client.Version(t.Context(), &cri.VersionRequest{})
		return err == nil
	})
	helper := helperRoot(t)
	copyFile(t, filepath.Join(helper, "helper"), r.helper)
	r.load(t, image{user: "65532:65532", entry: []string{"/helper"}}.pack(t, helper, pauseImage))
	program := readContainerfile(t, containerfile)
	r.load(t, program.pack(t, makeProgram(t), programImage))
	shared.ready = true
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := execfile.Write(to, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

func (r *runtime) load(t *testing.T, archive string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ctr", "--address", filepath.Join(r.dir, "s"), "--namespace", "k8s.io",
		"images", "import", "--snapshotter", "native", archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ctr images import: %v\n%s\n%s", err, out, r.said())
	}
}

// said returns the log of containerd.
func (r *runtime) said() string {
	b, err := os.ReadFile(r.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8000):])
}

// close stops containerd when every pod is gone, and removes its files.
func (r *runtime) close() error {
	err := firstOf(r.conn.Close(), r.process.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- r.process.Wait() }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		err = firstOf(err, r.process.Process.Kill())
		<-ended
	}
	return firstOf(err, r.log.Close(), os.RemoveAll(r.dir))
}

// until waits until a condition is true.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
