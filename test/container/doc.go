// Package container tests the contents of deploy/: the image, the manifests and the unit.
//
// The image is built from deploy/Containerfile without a build tool (image_test.go). It runs in
// containers of the tests' own containerd (containerd_test.go). The tests talk to that like the
// kubelet: through the CRI, with the kubelet's order of calls and its arithmetic (pod_test.go).
// This needs root, containerd and runc; a machine without them skips these tests.
//
// The package is a module of its own because tests of manifests need the types of Kubernetes and
// kustomize, and the CRI needs gRPC. These must neither influence the versions of dependencies for
// importers of the library, nor be compiled into the program.
package container
