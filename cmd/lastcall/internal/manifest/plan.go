package manifest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Given is what a command line says beside the manifest.
type Given struct {
	// Container is the name of the container that is rehearsed, empty for the only one.
	Container string
	// Command stands for the command of the image. A program alone takes the args of the manifest, one
	// with arguments is run as it stands.
	Command []string
	// Env are variables, each as NAME=VALUE, that replace those of the manifest.
	Env []string
	// Files are files and directories of this machine by their path in the container.
	Files map[string]string
	// WithoutMissing goes on without what the manifest wants and nobody has given.
	WithoutMissing bool
	// Environ is the environment of this process, from which a variable is taken that a Secret or a
	// ConfigMap has in the cluster.
	Environ func(name string) (string, bool)
}

// Plan is a rehearsal as a manifest describes it.
type Plan struct {
	// Config has the program, its sidecars, the grace and the address of the clients.
	Config rehearse.Config
	// Notes say what is not as in the cluster, one sentence each.
	Notes []string

	set       *Set
	workload  *Workload
	container *core.Container
	given     Given
	env       []variable
	paths     map[string]string // paths of the container, and where they are here
	lacks     []string
	dir       string // of files that were made, empty if there are none
}

// Plan makes a rehearsal of a container of a workload. What the container wants and nobody has given is
// the error, all of it at once. The caller closes the plan when the rehearsal is over.
func (s *Set) Plan(w *Workload, given Given) (*Plan, error) {
	c, err := w.Container(given.Container)
	if err != nil {
		return nil, err
	}
	if given.Environ == nil {
		given.Environ = os.LookupEnv
	}
	p := &Plan{set: s, workload: w, container: c, given: given, paths: make(map[string]string)}
	if err := p.fill(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close removes the files that the plan has made. It may be called on nil.
func (p *Plan) Close() error {
	if p == nil || p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}

func (p *Plan) fill() error {
	if err := p.volumes(); err != nil {
		return err
	}
	p.environment(p.container)
	program := rehearse.Container{Name: p.container.Name, Env: p.variables(), Command: p.command()}
	if err := p.lifecycle(&program, p.container); err != nil {
		return err
	}
	p.Config.Program = program
	p.Config.Grace = p.workload.grace()
	p.Config.URL = p.address()
	if len(p.lacks) > 0 && !p.given.WithoutMissing {
		return fmt.Errorf("%s wants what is not here:\n  %s\n--without-missing goes on without it", p.workload, strings.Join(p.lacks, "\n  "))
	}
	for _, lack := range p.lacks {
		p.Notes = append(p.Notes, "without: "+lack)
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

// grace is the pod's. The kubelet makes a second of 0, too.
func (w *Workload) grace() time.Duration {
	seconds := int64(30)
	if s := w.Pod.TerminationGracePeriodSeconds; s != nil {
		seconds = *s
	}
	return time.Duration(max(seconds, 1)) * time.Second
}

// command is what is run.
func (p *Plan) command() []string {
	words := slices.Clone(p.given.Command)
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

// here puts the paths of this machine into a text in which those of the container stand.
func (p *Plan) here(text string) string {
	all := make([]string, 0, len(p.paths))
	for path := range p.paths {
		all = append(all, path)
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	var b strings.Builder
	for i := 0; i < len(text); {
		found := ""
		if i == 0 || !pathByte(text[i-1]) {
			for _, path := range all {
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

// pathByte reports whether a byte goes on with the name of a file.
func pathByte(b byte) bool {
	return b == '/' || b == '.' || b == '-' || b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// words are the words of a hook or a probe, as they are run here.
func (p *Plan) words(what string, command []string) []string {
	var words []string
	for _, word := range command {
		words = append(words, p.here(word))
	}
	if len(words) > 0 && filepath.IsAbs(words[0]) {
		if _, err := os.Stat(words[0]); err != nil {
			p.lack("%s runs %s, which is not on this machine: --file %s=PATH", what, command[0], command[0])
		}
	}
	return words
}
