package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/distribution/reference"
)

// engine is a program that exports the images of a container engine.
type engine struct {
	command string
	has     []string // arguments that print something about an image, and nothing if there is none
	save    []string // arguments that write the image to standard output
	full    bool     // it knows an image by its full name alone, with its registry and its tag
}

// engines are asked at the same time, and the first one that has the image exports it. None of
// these commands pulls an image.
var engines = []engine{
	{"docker", []string{"image", "inspect"}, []string{"image", "save"}, false},
	{"podman", []string{"image", "inspect"}, []string{"image", "save"}, false},
	{"nerdctl", []string{"image", "inspect"}, []string{"save"}, false},
	{"ctr", ctr("default", "list"), ctr("default", "export"), true},
	{"ctr", ctr(kubernetes, "list"), ctr(kubernetes, "export"), true},
}

// kubernetes is the namespace of containerd that has the images of a kubelet.
const kubernetes = "k8s.io"

// ctr returns the arguments of containerd's client. Without a limit of its own it waits for ten
// seconds for a containerd that does not run.
func ctr(namespace, what string) []string {
	args := []string{"--connect-timeout", "3s", "--namespace", namespace, "images"}
	if what == "list" {
		return append(args, "list", "--quiet")
	}
	return append(args, "export", "-")
}

// Bounds on how long an engine may take.
var (
	answerWithin = 15 * time.Second
	exportWithin = 15 * time.Minute
)

// Exported is the archive of an image from a container engine: an open file that has no name.
type Exported struct {
	*os.File
	// Engine is the command that has exported it.
	Engine string
}

// Export exports the image of a name from Docker, Podman or containerd. It returns nil if there is
// a file of that name. Nothing is pulled.
func Export(ctx context.Context, name string) (*Exported, error) {
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		return nil, nil // Unpack reports any other error
	}
	exported, err := export(ctx, name)
	if err != nil {
		return nil, &imageError{name, err}
	}
	return exported, nil
}

func export(ctx context.Context, name string) (*Exported, error) {
	named, err := reference.ParseAnyReference(name)
	if err != nil {
		return nil, fmt.Errorf("%w, and it cannot be the name of an image: %w", syscall.ENOENT, err)
	}
	full := named.String()
	if n, ok := named.(reference.Named); ok {
		full = reference.TagNameOnly(n).String()
	}
	answers := make([]error, len(engines))
	var asked sync.WaitGroup
	for i, e := range engines {
		asked.Go(func() { answers[i] = e.ask(ctx, name, full) })
	}
	asked.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, e := range engines {
		if answers[i] == nil {
			f, err := e.export(ctx, name, full)
			if err != nil {
				return nil, fmt.Errorf("%s has it, and does not export it: %w", e.command, err)
			}
			return &Exported{File: f, Engine: e.command}, nil
		}
	}
	return nil, noneHas(answers)
}

// noneHas is the error of an image that no engine has.
func noneHas(answers []error) error {
	var said []string
	for i, e := range engines {
		line := e.command + " says: " + answers[i].Error()
		if !errors.Is(answers[i], exec.ErrNotFound) && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return fmt.Errorf("%w, and none of docker, podman, nerdctl and ctr is installed, which could export an image of that name", syscall.ENOENT)
	}
	return fmt.Errorf("%w, and no container engine here has an image of that name (a rehearsal pulls none): %s", syscall.ENOENT, strings.Join(said, "; "))
}

// ask returns nil if the engine has the image, and otherwise what it says.
func (e engine) ask(ctx context.Context, name, full string) error {
	ctx, stop := context.WithTimeoutCause(ctx, answerWithin, fmt.Errorf("it does not answer within %v", answerWithin))
	defer stop()
	list := e.has
	if e.full {
		list = append(list[:len(list):len(list)], "name=="+full)
	} else {
		list = append(list[:len(list):len(list)], name)
	}
	cmd, said := e.start(ctx, list)
	answer := &head{most: maxText}
	cmd.Stdout = answer
	if err := e.why(ctx, cmd.Run(), said); err != nil {
		return err
	}
	if text := strings.TrimSpace(string(answer.text)); text == "" || text == "[]" {
		return errors.New("it has no such image")
	}
	return nil
}

// export copies the image into a file.
func (e engine) export(ctx context.Context, name, full string) (*os.File, error) {
	ctx, stop := context.WithTimeoutCause(ctx, exportWithin, fmt.Errorf("it takes more than %v", exportWithin))
	defer stop()
	if e.full {
		name = full
	}
	cmd, said := e.start(ctx, append(e.save[:len(e.save):len(e.save)], name))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f, err := keep(ctx, out, temporary())
	if err != nil {
		stop() // it may still be writing
		_ = cmd.Wait()
		return nil, err
	}
	if err := e.why(ctx, cmd.Wait(), said); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// start prepares a command of the engine, which is asked to end when the context does.
func (e engine) start(ctx context.Context, args []string) (cmd *exec.Cmd, said *head) {
	cmd, said = exec.CommandContext(ctx, e.command, args...), &head{most: 64 << 10}
	cmd.Stderr = said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	return cmd, said
}

// why returns the reason for a failure: the end of the context, or what the engine has said last.
func (e engine) why(ctx context.Context, err error, said *head) error {
	lines := strings.Split(strings.TrimSpace(string(said.text)), "\n")
	switch last := strings.TrimPrefix(lines[len(lines)-1], "Error: "); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case last != "" && errors.As(err, new(*exec.ExitError)):
		return errors.New(shown(last))
	}
	return err
}

// head keeps the beginning of what is written to it.
type head struct {
	text []byte
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), h.most-len(h.text))]...)
	return len(p), nil
}
