package manifest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever is read, the answer is a set, or an error with its place in the file.
func FuzzRead_AnswersWithASetOrAnError(f *testing.F) {
	for _, name := range []string{"service.yaml", "job.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(container("readinessProbe: {tcpSocket: {port: web}}\nvolumeMounts: [{name: v, mountPath: /v}]") + objects))
	f.Add([]byte("a: &a [*a]\n---\n{}\n---\n- !!binary x\n"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{}, null, {apiVersion: v1, kind: Pod, spec: &s {containers: [{name: *s}]}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("services")) {
			return // Compose's own library reads such a file, and files that it names
		}
		set, err := Read(Source{Name: "m.yaml", Text: text})
		if err != nil {
			if place, rest, ok := strings.Cut(err.Error(), "m.yaml:"); ok && place == "" && strings.HasPrefix(rest, "0:") {
				t.Errorf("no line: %v", err)
			}
			return
		}
		set.Examine()
		for _, w := range set.Workloads {
			for i := range w.Pod.Containers {
				w.Pod.Containers[i].VolumeMounts = nil // so that it does not create thousands of directories
				p, err := set.Plan(w, Given{Container: w.Pod.Containers[i].Name, Command: []string{"./s"}, WithoutMissing: true})
				if err == nil {
					err = p.Close()
				}
				_ = err // Kubernetes refuses such manifests too
			}
		}
	})
}
