package manifest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/distribution/reference"
	core "k8s.io/api/core/v1"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Unpacked gives an unpacked image to the containers that run it, for Examine: to those called
// container, or if that is empty to those whose image has this name. An image that has no name in
// the manifest is that of all containers, if they run one image.
func (s *Set) Unpacked(image *Image, name, container string) error {
	var all, chosen []*core.Container
	var names, images []string
	for _, w := range s.Workloads {
		for _, c := range w.running() {
			all = append(all, c)
			names, images = append(names, c.Name), append(images, c.Image)
			if container == "" && sameImage(c.Image, name) || container == c.Name {
				chosen = append(chosen, c)
			}
		}
	}
	slices.Sort(images)
	if container == "" && chosen == nil && len(slices.Compact(images)) == 1 {
		chosen = all
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case chosen == nil && container != "":
		return fmt.Errorf("no workload has a container %s: there are %s", container, strings.Join(names, ", "))
	case chosen == nil:
		return fmt.Errorf("no container of the manifest runs an image %s: say which one does, with --container %s", name, strings.Join(names, "|"))
	}
	s.unpacked = make(map[*core.Container]*Image)
	for _, c := range chosen {
		s.unpacked[c] = image
	}
	return nil
}

// sameImage reports whether two names are those of the same image, as app and
// docker.io/library/app:latest are.
func sameImage(a, b string) bool {
	one, err := reference.ParseDockerRef(a)
	other, errOther := reference.ParseDockerRef(b)
	return err == nil && errOther == nil && one.String() == other.String()
}

// running returns the containers that run until the pod ends.
func (w *Workload) running() []*core.Container {
	return slices.DeleteFunc(w.everyContainer(), func(c *core.Container) bool {
		return !w.isSidecar(c) && !slices.ContainsFunc(w.Pod.Containers, func(one core.Container) bool { return one.Name == c.Name })
	})
}

// unpacked checks a container whose image is unpacked.
func (x *examination) unpacked() {
	im := x.set.unpacked[x.container]
	if im == nil {
		return
	}
	if l := x.container.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Exec != nil {
		for _, word := range needs(l.PreStop.Exec.Command) {
			if _, err := x.program(im, word); errors.Is(err, os.ErrNotExist) {
				x.say(rehearse.HookFails, true, x.at(".lifecycle.preStop"), "preStop runs %q, which the image does not have", word)
				break
			}
		}
	}
	if sig := im.StopSignal; (x.container.Lifecycle == nil || x.container.Lifecycle.StopSignal == nil) && (sig == syscall.SIGKILL || sig == syscall.SIGSTOP) {
		x.say(BadSignal, true, x.at(""), "no program can handle signal %d, the STOPSIGNAL of the image", int(sig))
	}
	x.script(im)
}

// needs returns the programs that a command certainly runs: its first word, and the tools that it
// has a shell run.
func needs(command []string) []string {
	all := command[:1:1]
	for _, part := range separators.Split(shellOf(command), -1) {
		words := strings.Fields(part)
		// The others in the list are built into shells, or are shells.
		if len(words) > 0 && slices.Contains([]string{"sleep", "curl", "wget", "pkill", "killall", "nc"}, words[0]) {
			all = append(all, words[0])
		}
	}
	return all
}

// script finds an entrypoint that is a script of a shell, and runs the program as a child of that.
func (x *examination) script(im *Image) {
	command := belowInit(commandIn(im, x.container))
	if len(command) == 0 {
		return
	}
	text, err := x.program(im, command[0])
	if err != nil || !shebang.MatchString(text) || takesPlace.MatchString(text) {
		return
	}
	x.say(BelowShell, false, x.at(""), "%q of the image gets the signal, and is a script of a shell with neither exec nor trap", command[0])
}

var (
	shebang    = regexp.MustCompile(`^#! *(?:/\S*/)?(?:env +)?(?:\S*/)?(?:sh|bash|ash|dash|zsh|ksh)\b`)
	takesPlace = regexp.MustCompile(`(?m)(?:^|[;&|({]|\bthen|\belse|\bdo)[ \t]*(?:exec[ \t]+[^ \t<>0-9&]|trap[ \t])`)
)

// commandIn returns what a container runs in an image.
func commandIn(im *Image, c *core.Container) []string {
	switch {
	case len(c.Command) > 0:
		return slices.Concat(c.Command, c.Args)
	case len(c.Args) > 0:
		return slices.Concat(im.Entrypoint, c.Args)
	}
	return slices.Concat(im.Entrypoint, im.Cmd)
}

// nonRoot compares runAsNonRoot with the user, as the kubelet does before it starts the container.
func (x *examination) nonRoot() {
	must, user := false, (*int64)(nil)
	if pod := x.workload.Pod.SecurityContext; pod != nil {
		must, user = pod.RunAsNonRoot != nil && *pod.RunAsNonRoot, pod.RunAsUser
	}
	if own := x.container.SecurityContext; own != nil {
		if own.RunAsNonRoot != nil {
			must = *own.RunAsNonRoot
		}
		if own.RunAsUser != nil {
			user = own.RunAsUser
		}
	}
	im := x.set.unpacked[x.container]
	switch {
	case !must || user != nil && *user != 0:
		return
	case user != nil:
		x.say(Refused, true, x.at(".securityContext"), "runAsNonRoot is set, and runAsUser is 0")
		return
	case im == nil:
		return
	}
	name, _, _ := strings.Cut(im.UserName, ":")
	switch _, err := strconv.Atoi(name); {
	case name == "" || err == nil && im.User == 0:
		x.say(Refused, true, x.at(".securityContext"), "runAsNonRoot is set, and the image's USER is root")
	case err != nil:
		x.say(Refused, true, x.at(".securityContext"), "runAsNonRoot is set, and the image's USER is the name %q: only a number shows that it is not root", name)
	}
}

// program returns the beginning of a program's file in the image. The error is os.ErrNotExist only
// if the program is certainly missing: what is below a volume, or relative, may be there.
func (x *examination) program(im *Image, name string) (string, error) {
	tries := []string{name}
	if !strings.Contains(name, "/") {
		tries = nil
		for _, pair := range im.Env {
			if list, ok := strings.CutPrefix(pair, "PATH="); ok {
				for dir := range strings.SplitSeq(list, ":") {
					tries = append(tries, path.Join(dir, name))
				}
			}
		}
	}
	root, err := os.OpenRoot(im.Root)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for _, try := range tries {
		if !path.IsAbs(try) || slices.ContainsFunc(x.container.VolumeMounts, func(m core.VolumeMount) bool {
			return strings.HasPrefix(try+"/", path.Clean(m.MountPath)+"/")
		}) {
			return "", errors.ErrUnsupported
		}
		text, err := beginning(root, try)
		if !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
	}
	return "", os.ErrNotExist
}

// beginning returns the first bytes of a file in an image.
func beginning(root *os.Root, name string) (string, error) {
	at, err := inside(root, name)
	if err != nil {
		return "", err
	}
	f, err := root.Open(at)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(f, most))
	return string(text), err
}
