package install

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The flags for what the cluster has already.
const (
	authorizersFlag = "--authorization-config"
	clusterFlag     = "--cluster-configuration"
)

// lookAround looks for the cluster whose control-plane node this is, and takes from it what the command line does not say.
func (in *Input) lookAround(ctx context.Context, s *Setup) {
	c, err := readStaticPod(cmp.Or(in.Root, "/"), serverManifest)
	if err != nil {
		in.refuse("--target", "cannot look at this node's kube-apiserver: %w", err)
	}
	if c == nil {
		return
	}
	s.Notes = append(s.Notes, c.manifest+" is there, so these are the steps for an existing cluster.")
	if in.checkWebhook(c, s) && in.takeAuthorizers(c, s) {
		in.takeClusterConfiguration(ctx, c, s)
	}
}

func (in *Input) checkWebhook(c *controlPlane, s *Setup) (ok bool) {
	present := c.flags[WebhookFileFlag]
	if present == "" || present == path.Join(s.Options.NodeDir, AuthenticateFile) {
		return true
	}
	in.refuse(c.manifest, "kube-apiserver has %s: %w", Flag{WebhookFileFlag, present}, errOtherWebhook)
	return false
}

// takeAuthorizers reads the file that kube-apiserver has now, unless the command line names one.
func (in *Input) takeAuthorizers(c *controlPlane, s *Setup) (ok bool) {
	if in.AuthorizersFile != "" {
		return true
	}
	if flags := c.otherAuthorizers(); len(flags) > 0 {
		slices.Sort(flags)
		in.refuse(c.manifest, "kube-apiserver has %s: write these authorizers as an AuthorizationConfiguration, and give it with %s",
			strings.Join(flags, " "), authorizersFlag)
		return false
	}
	present := c.flags[AuthorizersFlag]
	if present == "" {
		return true
	}
	name := c.onNode(present)
	text := in.readFile(authorizersFlag, name)
	if text == nil {
		return false
	}
	if present == path.Join(s.Options.NodeDir, AuthorizationFile) {
		shipped, err := renderAuthorizers(Options{NodeDir: s.Options.NodeDir})
		if err != nil || len(LostAuthorizers(text, shipped)) == 0 {
			return err == nil // an earlier init has written it, with no authorizers but its own
		}
	} else {
		s.Notes = append(s.Notes, fmt.Sprintf("kube-apiserver has %s. init puts jobgate into a copy of it.", Flag{AuthorizersFlag, present}))
	}
	in.AuthorizersFile, s.Options.Authorizers = name, text
	return true
}

// takeClusterConfiguration asks the cluster for its configuration, unless the command line names a file.
func (in *Input) takeClusterConfiguration(ctx context.Context, c *controlPlane, s *Setup) {
	if in.ClusterConfigFile != "" {
		return
	}
	text, err := c.clusterConfiguration(ctx)
	if err != nil {
		in.refuse(clusterFlag, "cannot ask the cluster for its configuration with %s: %w; export it, and give the file:\n%s",
			filepath.Join(c.root, adminConf), err, ExportClusterConfiguration())
		return
	}
	in.asked, s.Options.ClusterConfiguration = true, text
}
