import { ddpPlugin } from './ddp/plugin';
import { doctorPlugin } from './doctor/plugin';
import { launcherPlugin } from './launcher';
import { resetPlugin } from './reset/plugin';
import { statusPlugin } from './status';

export default [statusPlugin, doctorPlugin, ddpPlugin, resetPlugin, launcherPlugin];
