package container

import (
	"bytes"
	"os/exec"
	"regexp"
	"testing"
)

// lastcall doctor reports nothing for any of the manifests, and reports what the test adds to one.
func TestManifests_TheProgramsOwnDoctorFindsNothing(t *testing.T) {
	program := withTools(t)
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
