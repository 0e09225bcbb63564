/** A worker that finishes its current item after the signal, and exits with 0. */
class Main {
    static volatile boolean stopping;

    static void work() throws InterruptedException {
        Thread.sleep(200);
    }

    public static void main(String[] args) throws InterruptedException {
        Thread worker = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try {
                worker.join(); // the virtual machine exits when its hooks have ended
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(0); // otherwise it exits with 143
        }));
        while (!stopping) {
            work();
        }
    }
}
