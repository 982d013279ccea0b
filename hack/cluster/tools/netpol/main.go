// Command netpol enforces the cluster's NetworkPolicies on a single node whose network plugin doesn't.
//
// It watches Pods, namespaces and policies, and keeps iptables rules that follow from them. Every new connection from or to
// an isolated Pod is held against its policies, connections to the node itself included (the API server answers there);
// those that the node makes (the kubelet's probes) pass. IPv4 only. As with other plugins there is a moment between a Pod's
// start and the first rules for its address.
//
//	netpol KUBECONFIG
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const retry = 2 * time.Second

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: netpol KUBECONFIG")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

type enforcer struct {
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister
	applied    map[string][]string
}

func run(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	changed := make(chan struct{}, 1)
	notice := func(any) {
		select {
		case changed <- struct{}{}:
		default: // one is waiting already
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: notice, UpdateFunc: func(_, new any) { notice(new) }, DeleteFunc: notice}
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	own := &enforcer{pods: pods.Lister(), namespaces: namespaces.Lister(), policies: policies.Lister()}
	if err := own.prepare(); err != nil {
		return err
	}
	for {
		if err := own.apply(); err != nil {
			log.Print(err)
			time.AfterFunc(retry, func() { notice(nil) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// prepare makes the entry chain and leads new connections into it; chains of an earlier run are taken over.
func (own *enforcer) prepare() error {
	output, err := exec.Command("iptables-save", "-t", "filter").Output()
	if err != nil {
		return fmt.Errorf("iptables-save: %w", err)
	}
	own.applied = map[string][]string{}
	for _, line := range strings.Split(string(output), "\n") {
		if chain, found := strings.CutPrefix(line, ":MANDATE-"); found {
			own.applied["MANDATE-"+strings.Fields(chain)[0]] = nil
		}
	}
	if _, exists := own.applied[entry]; !exists {
		if err := iptables("-N", entry); err != nil {
			return err
		}
	}
	for _, hook := range []string{"FORWARD", "INPUT"} {
		if iptables("-C", hook, "-j", entry) != nil {
			if err := iptables("-I", hook, "1", "-j", entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply brings the rules in line with the cluster.
func (own *enforcer) apply() error {
	state, err := own.world()
	if err != nil {
		return err
	}
	chains, err := state.chains()
	if err != nil {
		return err
	}
	if maps.EqualFunc(own.applied, chains, slices.Equal[[]string]) {
		return nil
	}
	command := exec.Command("iptables-restore", "--noflush", "--wait", "5")
	command.Stdin = strings.NewReader(script(own.applied, chains))
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("iptables-restore: %w: %s", err, bytes.TrimSpace(output))
	}
	own.applied = chains
	log.Printf("enforcing %d policies on %d chains", len(state.policies), len(chains)-1)
	return nil
}

func (own *enforcer) world() (world, error) {
	pods, err := own.pods.List(labels.Everything())
	if err != nil {
		return world{}, err
	}
	namespaces, err := own.namespaces.List(labels.Everything())
	if err != nil {
		return world{}, err
	}
	policies, err := own.policies.List(labels.Everything())
	if err != nil {
		return world{}, err
	}
	// In the order of their names, so that the same state gives the same rules.
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	sets := map[string]labels.Set{}
	for _, each := range namespaces {
		sets[each.Name] = each.Labels
	}
	return world{pods, sets, policies}, nil
}

func iptables(arguments ...string) error {
	if output, err := exec.Command("iptables", append([]string{"--wait", "5"}, arguments...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("iptables %s: %w: %s", strings.Join(arguments, " "), err, bytes.TrimSpace(output))
	}
	return nil
}
