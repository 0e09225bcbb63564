package manifest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Given is what the command line adds to the manifest.
type Given struct {
	// Container is the name of the container that is rehearsed, empty for the only one.
	Container string
	// Command replaces the command of the image. A program without arguments gets the args of the
	// manifest; one with arguments is run as it is.
	Command []string
	// Env are variables, each as NAME=VALUE, that replace those of the manifest.
	Env []string
	// Image is what the container runs in, nil for this machine's file system.
	Image *Image
	// Files are files and directories of this machine by their path in the container.
	Files map[string]string
	// Sidecars are commands of /bin/sh, by the name of the restartable init container that each
	// replaces.
	Sidecars map[string]string
	// WithoutMissing goes on without what the manifest needs but the command line does not give.
	WithoutMissing bool
	// Environ is the environment of this process. It provides the variables that a Secret or a
	// ConfigMap has in the cluster.
	Environ func(name string) (string, bool)
}

// Image is the part of an unpacked image that concerns a manifest.
type Image struct {
	Name, Root      string
	Entrypoint, Cmd []string
	User, Group     int
	UserName        string // as the image has it
	Groups          []int
	Env             []string
	StopSignal      syscall.Signal
}

// Plan is the rehearsal that a manifest describes.
type Plan struct {
	// Config has the program, its sidecars, the grace and the address of the clients.
	Config rehearse.Config
	// Notes say what differs from the cluster, one sentence each.
	Notes []string

	set       *Set
	workload  *Workload
	container *core.Container
	given     Given
	env       []variable
	paths     map[string]string // paths of the container, and where they are here
	lacks     []string
	dir       string // of files that were created, empty if there are none
	remove    func() error
	made      map[string]string // directories of dir, by the volume
	copied    int               // files that were copied into the image
	bytes     int64
}

// Plan plans the rehearsal of a container of a workload. If something that the container needs is
// not given, the error lists all of it at once. The caller closes the plan when the rehearsal is
// over.
func (s *Set) Plan(w *Workload, given Given) (*Plan, error) {
	c, err := w.Container(given.Container)
	if err != nil {
		return nil, err
	}
	if given.Environ == nil {
		given.Environ = os.LookupEnv
	}
	p := &Plan{set: s, workload: w, container: c, given: given, paths: make(map[string]string), made: make(map[string]string), Notes: slices.Clone(w.remarks)}
	if err := p.fill(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close removes the files that the plan has created, and so does the end of this process. It may be
// called on nil.
func (p *Plan) Close() error {
	if p == nil || p.remove == nil {
		return nil
	}
	return p.remove()
}

func (p *Plan) fill() error {
	for name := range p.given.Sidecars {
		if !slices.ContainsFunc(p.workload.Pod.InitContainers, func(c core.Container) bool { return c.Name == name && p.workload.isSidecar(&c) }) {
			return fmt.Errorf("--sidecar-command %s: %s has no init container of this name with restartPolicy: Always", name, p.workload)
		}
	}
	if err := p.volumes(); err != nil {
		return err
	}
	p.environment(p.container)
	program := rehearse.Container{Name: p.container.Name, Env: p.variables(), Command: p.command()}
	if err := p.lifecycle(&program, p.container); err != nil {
		return err
	}
	if err := p.enterImage(&program); err != nil {
		return err
	}
	p.Config.Program = program
	p.Config.Grace = p.workload.grace()
	if url := p.address(); url != "" {
		p.Config.Traffic = []rehearse.Target{{URL: url}}
	}
	if err := p.sidecars(); err != nil {
		return err
	}
	if len(p.lacks) > 0 && !p.given.WithoutMissing {
		return fmt.Errorf("%s wants what is not here:\n  %s\n--without-missing goes on without it", p.workload, strings.Join(p.lacks, "\n  "))
	}
	for _, lack := range p.lacks {
		p.note("without: %s", lack)
	}
	return nil
}

func (p *Plan) lack(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.lacks, text) {
		p.lacks = append(p.lacks, text)
	}
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// grace returns the pod's grace. The kubelet turns 0 into a second, too.
func (w *Workload) grace() time.Duration {
	return time.Duration(max(w.seconds(), 1)) * time.Second
}

// command returns the command to run, as the child of an init if the manifest has one.
func (p *Plan) command() []string {
	words := p.program()
	if !p.workload.init || len(words) == 0 {
		return words
	}
	for _, name := range []string{"docker-init", "tini", "catatonit"} {
		if found, err := exec.LookPath(name); err == nil {
			return append([]string{found, "--"}, words...)
		}
	}
	p.note("init: true: there is no docker-init, tini or catatonit on this machine, so the program is PID 1 itself, and signals have no default action")
	return words
}

// program returns the command to run, without an init.
func (p *Plan) program() []string {
	words := slices.Clone(p.given.Command)
	if image := p.given.Image; image != nil && len(words) == 0 {
		return p.ofImage(image)
	}
	if len(words) != 1 || len(p.container.Args) == 0 {
		return words
	}
	if shellOf(p.container.Command) != "" {
		p.note("the args of the manifest are those of a shell, and left out")
		return words
	}
	for _, arg := range p.container.Args {
		words = append(words, p.here(p.expand(arg)))
	}
	return words
}

// ofImage returns what Kubernetes runs: command replaces ENTRYPOINT and CMD, args replaces CMD.
func (p *Plan) ofImage(image *Image) (words []string) {
	all := append(slices.Clone(p.container.Command), p.container.Args...)
	switch {
	case len(p.container.Command) > 0:
	case len(p.container.Args) > 0:
		all = append(slices.Clone(image.Entrypoint), p.container.Args...)
	default:
		all = append(slices.Clone(image.Entrypoint), image.Cmd...)
	}
	for _, word := range all {
		words = append(words, p.expand(word))
	}
	return words
}

// here replaces the paths of the container in a text by those of this machine. In an image it
// changes nothing.
func (p *Plan) here(text string) string {
	if p.given.Image != nil {
		return text
	}
	longestFirst := slices.SortedFunc(maps.Keys(p.paths), func(a, b string) int { return len(b) - len(a) })
	var b strings.Builder
	for i := 0; i < len(text); {
		found := ""
		if i == 0 || !pathByte(text[i-1]) {
			for _, path := range longestFirst {
				rest, ok := strings.CutPrefix(text[i:], path)
				if ok && (rest == "" || rest[0] == '/' || !pathByte(rest[0])) {
					found = path
					break
				}
			}
		}
		if found == "" {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(p.paths[found])
		i += len(found)
	}
	return b.String()
}

// pathByte reports whether a byte continues the name of a file.
func pathByte(b byte) bool {
	return b == '/' || b == '.' || b == '-' || b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// words returns the words of a hook or a probe, as they are run here.
func (p *Plan) words(what string, command []string) []string {
	var words []string
	for _, word := range command {
		words = append(words, p.here(word))
	}
	switch {
	case p.given.Image != nil || len(words) == 0 || isProgram(words[0]):
	case filepath.IsAbs(words[0]):
		p.lack("%s runs %s, which is not on this machine: --file %s=PATH", what, command[0], command[0])
	default:
		p.lack("%s runs %s, which is not on this machine", what, command[0])
	}
	return words
}
