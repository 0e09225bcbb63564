// Package container has the tests of what deploy/ says: the image, the manifests and the unit.
//
// The image is made from deploy/Containerfile without a build tool (image_test.go) and runs in
// containers of a containerd of the test's own (containerd_test.go), which is spoken to as the
// kubelet speaks to it: the CRI, with the kubelet's order of calls and its arithmetic
// (pod_test.go). That takes root, containerd and runc; a machine without them skips these tests.
//
// It is a module of its own because a test of manifests needs the types of Kubernetes and
// kustomize, and the CRI needs gRPC: they shall not take part in choosing the versions of those who
// import the library, nor be compiled into the program.
package container
