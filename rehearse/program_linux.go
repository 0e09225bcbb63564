package rehearse

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/lastcall-go/lastcall/internal/proc"
)

// outlives is what a report adds about a program in a process group: nothing, since its supervisor
// finds every process.
const outlives = ""

// noClients is why nobody asks the program.
const noClients = "it listens on no port of loopback: there are no clients"

// self is the file of this process, even if that has been renamed or removed.
const self = "/proc/self/exe"

func ownFile() (string, error) { return self, nil }

// startImage starts the program of an image, which always needs namespaces.
func startImage(c *Container) (*program, error) {
	p := newProgram(c, namespace)
	if err := p.startNamespaced(""); errors.Is(err, errNoNamespace) {
		return nil, fmt.Errorf("rehearse: an image's program needs namespaces, and this system does not allow them: %w: "+
			"run this as root, or allow user namespaces to all (sysctl user.max_user_namespaces; kernel.apparmor_restrict_unprivileged_userns and "+
			"kernel.unprivileged_userns_clone on Ubuntu and Debian); within a container it takes a privileged one", err)
	} else if err != nil {
		return nil, err
	}
	p.isGo = builtByGo("/proc/" + strconv.Itoa(p.pid) + "/exe")
	return p, nil
}

// pids are the program's processes.
func (p *program) pids() []int {
	pids := []int{p.pid}
	below, err := proc.Descendants(p.pid)
	if err != nil {
		return pids
	}
	for _, one := range below {
		pids = append(pids, one.PID)
	}
	return pids
}

// runtime is the file name of what runs the program, such as node or python3.11.
func (p *program) runtime() string {
	file, err := os.Readlink("/proc/" + strconv.Itoa(p.pid) + "/exe")
	if err != nil {
		return "" // it has ended
	}
	return filepath.Base(file)
}

// handles reports whether the program's main process has a handler for a signal, according to the
// kernel.
func (p *program) handles(sig syscall.Signal) (handled, known bool) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/status")
	if err != nil {
		return false, false
	}
	for line := range bytes.Lines(status) {
		if mask, ok := bytes.CutPrefix(line, []byte("SigCgt:")); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(string(mask)), 16, 64)
			return bits&(1<<(sig-1)) != 0, err == nil
		}
	}
	return false, false
}

// fillOutput writes to the pipes that are the program's output until they are full, and returns how
// many bytes that took.
func (p *program) fillOutput() (n int) {
	for _, fd := range []string{"1", "2"} {
		name := "/proc/" + strconv.Itoa(p.pid) + "/fd/" + fd
		if !isReadHere(name) {
			continue
		}
		// The pipe is opened again, so that the program's own end of it stays a blocking one.
		pipe, err := syscall.Open(name, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		for line := bytes.Repeat([]byte("\n"), 4096); len(line) > 0; {
			wrote, err := syscall.Write(pipe, line)
			if n += max(wrote, 0); err != nil {
				line = line[:len(line)/2] // the rest may be smaller than that
			}
		}
		_ = syscall.Close(pipe) // nothing is buffered
	}
	return n
}

// isReadHere reports whether a file of another process is a pipe that this process reads.
func isReadHere(name string) bool {
	pipe, err := os.Readlink(name)
	if err != nil || !strings.HasPrefix(pipe, "pipe:") {
		return false
	}
	own, err := os.ReadDir("/proc/self/fd")
	return err == nil && slices.ContainsFunc(own, func(f os.DirEntry) bool {
		link, err := os.Readlink("/proc/self/fd/" + f.Name())
		return err == nil && link == pipe
	})
}
