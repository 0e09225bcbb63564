package container

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// program is the program with all its commands. TestMain removes it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lastcall-program-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "lastcall")
	build := exec.Command("go", "build", "-o", file, ".")
	build.Dir = filepath.Join(repository, "cmd", "lastcall")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	builtProgram = dir
	return file, nil
})

var builtProgram string // its directory

// lastcall doctor reports nothing for any of the manifests, and reports what the test adds to one.
func TestManifests_TheProgramsOwnDoctorFindsNothing(t *testing.T) {
	program, err := program()
	if err != nil {
		t.Fatal(err)
	}
	doctor := func(text []byte) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, "doctor", "-f", "-")
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, name := range []string{"postgres", "sqlite", "overlay", "hello"} {
		text, err := built(t, name, "").AsYaml()
		if err != nil {
			t.Fatal(err)
		}
		out, err := doctor(text)
		if err != nil || !regexp.MustCompile(`^ok    manifest  standard input:\d+: nothing is wrong with (Deployment|StatefulSet) \w+\n$`).MatchString(out) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		text = regexp.MustCompile(`terminationGracePeriodSeconds: \d+`).ReplaceAll(text, []byte("terminationGracePeriodSeconds: 10"))
		if out, err := doctor(text); err == nil || !regexp.MustCompile(`(?m)^fail  LC201 `).MatchString(out) {
			t.Errorf("%s with a shorter grace: %v\n%s", name, err, out)
		}
	}
}

// The image is exported from a real containerd.
func TestManifests_TheDoctorLooksIntoTheImageThatContainerdHas(t *testing.T) {
	r := containerd(t)
	program, err := program()
	if err != nil {
		t.Fatal(err)
	}
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n    - name: p\n      image: " + pauseImage +
		"\n      lifecycle: {preStop: {exec: {command: [%s]}}}\n"
	for command, want := range map[string]string{
		"/helper":          "nothing is wrong with Pod p",
		"/bin/sh, -c, 'x'": `LC111     standard input:8: Pod p has a preStop hook that fails: preStop runs "/bin/sh", which the image does not have`,
	} {
		cmd := exec.CommandContext(t.Context(), program, "doctor", "-f", "-", "--image", pauseImage)
		cmd.Stdin, cmd.Env = strings.NewReader(fmt.Sprintf(pod, command)), append(os.Environ(), "CONTAINERD_ADDRESS="+filepath.Join(r.dir, "s"))
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s\nwant %q", command, err, out, want)
		}
	}
}
