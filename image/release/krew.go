package main

import (
	"fmt"
	"strings"
)

// downloads is where a release's files are.
const downloads = "https://github.com/jobgate/jobgate/releases/download"

// writeKrew writes the manifest with which krew installs the kubectl plugin:
// https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/
func (r release) writeKrew(archives []archive) error {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: jobgate
spec:
  version: %s
  homepage: https://github.com/jobgate/jobgate
  shortDescription: Let GitLab CI jobs log in to this cluster
  description: |
    jobgate lets GitLab CI jobs talk to a Kubernetes API server directly.
    The plugin writes a job's kubeconfig, finds what keeps a job from
    connecting, sets up a control plane, and explains decisions.
  platforms:
`, r.stamp.Version)
	for _, a := range archives {
		fmt.Fprintf(&b, `  - selector:
      matchLabels: {os: %s, arch: %s}
    uri: %s/%s/%s
    sha256: %s
    bin: %s
    files:
    - {from: %s, to: .}
    - {from: LICENSE, to: .}
    - {from: THIRD-PARTY-LICENSES.txt, to: .}
`, a.platform.OS, a.platform.Architecture, downloads, r.stamp.Version, a.file, a.sum, a.program, a.program)
	}
	return r.writeFile("krew.yaml", []byte(b.String()))
}
