package rehearse

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestTaken_APortOfSomebodyElseIsNamedWithWhoHasIt(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{Program: Container{Command: []string{server, "ends"}}, Traffic: []Target{{URL: "http://" + l.Addr().String()}}}
	_, err = Do(t.Context(), c)
	if want := fmt.Sprintf("%s is taken before the program is started, by process %d (", l.Addr(), os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
	c.AnyHost = true
	if _, err := Do(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no database here") {
		t.Errorf("it is not allowed: %v", err)
	}
}

func TestRehearse_AProgramThatGoesIntoTheBackgroundIsToldSo(t *testing.T) {
	t.Parallel()
	for _, share := range []bool{false, true} {
		_, err := Do(t.Context(), Config{Program: Container{Command: []string{"/bin/sh", "-c", "sleep 60 & exit 0"}}, sharePIDs: share})
		if err == nil || !strings.Contains(err.Error(), "is to stay in the foreground") {
			t.Errorf("shared PIDs %v: %v", share, err)
		}
	}
}

// noNamespacesEnv is set for a process that may not create namespaces.
const noNamespacesEnv = "LASTCALL_TEST_REHEARSE_NO_NAMESPACES"

func TestImage_WithoutNamespacesIsAnErrorThatSaysWhatToAllow(t *testing.T) {
	if os.Getenv(noNamespacesEnv) != "" {
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
		_, err := Do(t.Context(), Config{Program: Container{Command: []string{"/server"}, Image: imageOf(t, 0)}})
		if err == nil || !strings.Contains(err.Error(), "an image's program needs namespaces, and this system does not allow them") {
			t.Errorf("with an image: %v", err)
		}
		return
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), noNamespacesEnv+"=1", serverEnv+"="+server)
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: one, GidMappings: one}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}
