/** A long job. At a stop it gets some seconds to finish, or else it is handed over. */
class Main {
    static final int PATIENCE = 2000; // ms: it is shorter than the grace period

    static void work() throws InterruptedException {
        Thread.sleep(3600 * 1000);
    }

    public static void main(String[] args) throws InterruptedException {
        Thread worker = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                worker.join(PATIENCE);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            System.out.println("stopped, finished: " + !worker.isAlive());
            Runtime.getRuntime().halt(0);
        }));
        work();
    }
}
